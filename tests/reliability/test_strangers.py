"""Files from strangers: what they promise is held against what they are before memory is asked for, and
nothing in them is run or leads anywhere else."""

import ast
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib

import pytest
import torch

from scene.avatar import load_avatar, save_avatar
from scene.dataset_readers import read_clip
from scene.image_checks import decode_image
from tests.rendering.test_baking import bake, linear_head, make_avatar
from tests.synthetic import edited_json, write_clip
from tests.test_imports import tracked_files
from tests.viewing.avatars import make_avatar as make_avatar_on_scaffold
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.images import read_png
from utils.json_files import LARGEST_TEXT, read_json
from utils.ply import load_ply

# KB by which the most memory that this process ever had may grow in a test.
LITTLE = 400 << 10


@pytest.fixture(autouse=True)
def little_memory():
    """Fails what allocates much while it refuses."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LITTLE


def ply_header(count, kind="binary_little_endian", extra=""):
    return f"ply\nformat {kind} 1.0\nelement vertex {count}\nproperty float x\n{extra}end_header\n".encode()


@pytest.mark.parametrize("kind", ["binary_little_endian", "ascii"])
@pytest.mark.parametrize("count", [10**12, -1, 2**63, 50])
def test_a_ply_that_promises_more_than_it_has_is_refused(tmp_path, kind, count):
    path = tmp_path / "splats.ply"
    path.write_bytes(ply_header(count, kind, "property float y\n" * 40) + b"1 2 3\n")
    with pytest.raises(UserError, match="no readable PLY"):
        load_ply(path)


def png(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(999)))
        + chunk(b"IEND", b"")
    )


def test_a_picture_of_a_hundred_thousand_pixels_a_side_is_refused_wherever_it_is_read(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png(100_000, 100_000))
    for read in (read_png, lambda path: decode_image(path, 1)):
        with pytest.raises(UserError, match="100000 x 100000 pixels"):
            read(path)
    clip = write_clip(tmp_path / "clip")
    (clip / "ori_imgs" / "3.png").write_bytes(png(100_000, 100_000))
    with pytest.raises(UserError, match=r"3\.png: size 100000 x 100000"):
        read_clip(clip)
    with edited_json(clip) as document:
        document["w"] = document["h"] = 100_000
    with pytest.raises(UserError, match="w: expected at most 16384 pixels"):
        read_clip(clip)


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "../3", 3.0, True, None, -1, 10**30])
def test_a_frame_has_a_number_and_no_path(tmp_path, image_id):
    clip = write_clip(tmp_path / "clip")
    with edited_json(clip) as document:
        document["frames"][3]["img_id"] = image_id
    with pytest.raises(UserError, match="img_id: expected an integer"):
        read_clip(clip)


def test_a_picture_that_is_a_link_out_of_the_data_is_refused_and_others_are_followed(tmp_path):
    clip = write_clip(tmp_path / "clip")
    inside, outside = clip / "ori_imgs" / "3.png", tmp_path / "outside.png"
    outside.write_bytes(inside.read_bytes())
    inside.unlink()
    inside.symlink_to("4.png")
    read_clip(clip)
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(UserError, match=r"3\.png: a link out of the clip's folder, to .*outside\.png"):
        read_clip(clip)
    # Whoever keeps the pictures on another disk links their folder.
    inside.unlink()
    inside.write_bytes(outside.read_bytes())
    (clip / "ori_imgs").rename(tmp_path / "disk")
    (clip / "ori_imgs").symlink_to(tmp_path / "disk")
    read_clip(clip)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, '{"frames": ' + "[" * 900 + "]" * 900 + "}"]
)
def test_json_within_json_is_refused(tmp_path, content):
    clip = write_clip(tmp_path / "clip")
    (clip / "transforms.json").write_text(content)
    for read in (read_clip, lambda clip: read_json(clip / "transforms.json")["nothing"]):
        with pytest.raises((UserError, KeyError)):
            read(clip)


def test_a_json_file_without_end_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(UserError, match=f"at most {LARGEST_TEXT}"):
        read_json(path)


def changed(path, change):
    """A file with other tensors or metadata, whose digest is right: strangers can compute one too."""
    tensors, metadata = load_checkpoint(path)
    change(tensors, metadata)
    save_checkpoint(path, tensors, metadata)
    return path


def architecture(**sizes):
    return lambda tensors, metadata: metadata["head"]["architecture"].update(sizes)


def put(name, value):
    return lambda tensors, metadata: tensors.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        architecture(triplane_resolution=60_000),
        architecture(deformation_depth=10**9),
        architecture(deformation_width=10**9),
        architecture(expression_size=10**6),
        architecture(expression_size="5"),
        put("scaffold.neutral", torch.zeros(3_000_000, 3)),
        put("scaffold.triangles", torch.full((5, 3), 2**30, dtype=torch.int32)),
        put("gaussians.triangle", torch.full((300,), -5, dtype=torch.int32)),
        put("scaffold.shape_rows", torch.full((5,), 2**31 - 1, dtype=torch.int32)),
        put("gaussians.xyz", torch.full((300, 3), float("nan"))),
        lambda tensors, metadata: metadata["camera"].update(width=10**9),
        lambda tensors, metadata: metadata["camera"].update(fx=float("nan")),
        lambda tensors, metadata: metadata.update(neutral_expression=[0.0]),
        lambda tensors, metadata: metadata.update(camera=[]),
        lambda tensors, metadata: metadata.update(head=None),
    ],
)
def test_a_model_whose_parts_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "model.safetensors"
    save_avatar(make_avatar_on_scaffold(), path)
    load_avatar(path)
    with pytest.raises(UserError, match="not a model for use"):
        load_avatar(changed(path, change))


def test_a_light_form_that_would_inflate_is_refused(tmp_path):
    path = tmp_path / "light.safetensors"
    save_avatar(make_avatar(bake(make_avatar(linear_head())).head), path)
    load_avatar(path)
    good = path.read_bytes()
    bomb = torch.frombuffer(bytearray(zlib.compress(bytes(1 << 26))), dtype=torch.uint8)
    names = load_checkpoint(path).tensors
    for ending, value in ((".values", bomb), (".weights", torch.zeros(1 << 18, 10)), (".values", bomb[:5])):
        path.write_bytes(good)
        changes = {name: value for name in names if name.endswith(ending)}
        assert changes
        with pytest.raises(UserError, match="not a model for use"):
            load_avatar(changed(path, lambda tensors, metadata, new=changes: tensors.update(new)))


class Malicious:
    """Runs when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (os.mkdir, (str(self.proof),))


def test_a_malicious_torch_file_is_refused_and_not_run(tmp_path):
    from preparation.converters.files import load_torch_arrays

    proof = tmp_path / "it_ran"
    torch.save({"exp": Malicious(proof)}, tmp_path / "0.frame")
    with pytest.raises(UserError, match="cannot be read as arrays"):
        load_torch_arrays(tmp_path / "0.frame")
    (tmp_path / "1.frame").write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(UserError, match="cannot be read as arrays"):
        load_torch_arrays(tmp_path / "1.frame")
    assert not proof.exists()


def test_a_zip_that_unpacks_to_more_than_any_has_is_refused(tmp_path):
    from preparation.converters.files import load_torch_arrays

    path = tmp_path / "0.frame"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("archive/data/0", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="unpacks to"):
        load_torch_arrays(path)


# How code is run from data: by name, and what a call of it must have.
FORBIDDEN = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "shelve.open",
    "yaml.load",
    "joblib.load",
}
NEEDS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def test_no_file_is_read_by_anything_that_runs_code():
    seen, bad = set(), []
    for path in tracked_files():
        if path.suffix != ".py" or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in FORBIDDEN:
                bad.append(f"{path}:{node.lineno}: {name}")
            if name in NEEDS:
                seen.add(name)
                key, value = NEEDS[name]
                given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                if given.get(key) is not value:
                    bad.append(f"{path}:{node.lineno}: {name} without {key}={value}")
    assert not bad
    assert seen == set(NEEDS)


def test_numbers_of_json_that_python_refuses_are_one_line(tmp_path):
    (tmp_path / "digits.json").write_text(json.dumps({"a": 1})[:-1] + ', "b": ' + "9" * 10_000 + "}")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_json(tmp_path / "digits.json")
