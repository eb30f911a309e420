"""Folders of each layout that lie, and folders that train.py is given as they are."""

from pathlib import Path

import numpy as np
import pytest

import prepare
import train
from preparation.converters.convert import convert
from preparation.converters.files import read_vertices
from scene.dataset_readers import read_clip
from tests.preparation.converters import layouts
from tests.preparation.converters.layouts import VIEWS, moving_views, still_scene
from utils.errors import UserError


def write_all(root: Path) -> dict[str, Path]:
    """One small folder of each layout, by the name of the command that should be told."""
    scene, views = still_scene(3), moving_views(3)
    layouts.write_vhap(root / "vhap", scene, VIEWS[:1])
    layouts.write_vhap(root / "gaussianavatars", scene, VIEWS[:1])
    (root / "gaussianavatars/transforms.json").rename(root / "gaussianavatars/transforms_train.json")
    layouts.write_imavatar(root / "imavatar", scene, VIEWS[0])
    layouts.write_arrays_of_head_tracker(root / "flame-frames", scene, views.__getitem__)
    layouts.write_nerfblendshape(root / "nerfblendshape", layouts.scene(8), moving_views(8), split=True)
    layouts.write_frames_of_metrical_tracker(root / "flashavatar/checkpoint", scene, views)
    for index, view in enumerate(views):
        image, matte = layouts.draw(view, np.eye(4))
        layouts.save(root / f"flashavatar/imgs/{index + 1:05d}.jpg", image)
        layouts.save(root / f"flashavatar/alpha/{index + 1:05d}.jpg", matte)
    return {path.name: path for path in sorted(root.iterdir())}


@pytest.fixture(scope="module")
def every_layout(tmp_path_factory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("layouts"))


NAMES = ["vhap", "gaussianavatars", "imavatar", "flame-frames", "nerfblendshape", "flashavatar"]


@pytest.mark.parametrize("name", NAMES)
def test_train_names_the_command_that_converts_a_folder_which_then_does(every_layout, name, tmp_path, capsys):
    root = every_layout[name]
    with pytest.raises(SystemExit) as stopped:
        train.main(["-s", str(root), "-m", str(tmp_path / "run")])
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2 and len(lines) == 1
    command = f"python prepare.py --from {name} {root} OUT"
    assert command in lines[0]
    prepare.main([*command.replace("OUT", str(tmp_path / "out")).split()[2:], "--quiet"])
    assert read_clip(tmp_path / "out").frames


@pytest.mark.parametrize("name", NAMES)
def test_broken_files_are_one_line_and_leave_nothing(every_layout, name, tmp_path):
    """Every kind of file, cut off, emptied, or with some bytes changed: converted, or refused in one line."""
    random = np.random.default_rng(0)
    root, out, refused = every_layout[name], tmp_path / "out", 0
    kinds = {path.suffix + path.parent.name: path for path in sorted(root.rglob("*")) if path.is_file()}
    for path in kinds.values():
        whole = path.read_bytes()
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 40):
            changed[place] = random.integers(256)
        try:
            for content in (whole[: len(whole) // 2], whole[:-3], b"", b"[]", b"{}", bytes(changed)):
                path.write_bytes(content)
                try:
                    convert(name, root, out, quiet=True, overwrite=True)
                except UserError as error:
                    refused += 1
                    assert str(error) and not list(tmp_path.glob(".*")), error
        finally:
            path.write_bytes(whole)
    assert refused >= 4 * len(kinds) - 2


def test_an_npz_with_pickles_is_refused_and_nothing_is_run(tmp_path):
    layouts.write_vhap(tmp_path / "in", still_scene(3), VIEWS[:1])

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "in/flame_param/00001.npz", expr=np.array([Trap()], object))
    with pytest.raises(UserError, match=r"00001\.npz: cannot be read as arrays"):
        convert("vhap", tmp_path / "in", tmp_path / "out", quiet=True)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


def test_a_path_that_leads_out_of_the_data_is_refused(tmp_path):
    entries = layouts.write_vhap(tmp_path / "a/in", still_scene(3), VIEWS[:1])
    entries[1]["fg_mask_path"] = "../../../etc/passwd"
    layouts.save_json(tmp_path / "a/in/transforms.json", {"frames": entries})
    with pytest.raises(UserError, match="leads out of the data set"):
        convert("vhap", tmp_path / "a/in", tmp_path / "out", quiet=True)


LIES = {
    "timestep_index": "x", "file_path": "a\0b", "fg_mask_path": 5, "flame_param_path": [], "fl_x": 0,
    "cx": 10**400, "transform_matrix": [[1, 2], [3]],
}  # fmt: skip


@pytest.mark.parametrize("key", LIES)
def test_numbers_and_names_that_lie_are_one_line(tmp_path, key):
    entries = layouts.write_vhap(tmp_path / "in", still_scene(3), VIEWS[:1])
    entries[1][key] = LIES[key]
    layouts.save_json(tmp_path / "in/transforms.json", {"frames": entries})
    with pytest.raises(UserError, match=r"transforms\.json"):
        convert("vhap", tmp_path / "in", tmp_path / "out", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_meshes_are_read_as_text_and_as_binary_and_damaged_ones_are_refused(tmp_path):
    points = layouts.mesh_points(None, 0)
    layouts.write_obj(tmp_path / "a.obj", points)
    fields = "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
    head = "ply\nformat {}\ncomment made up\nelement vertex 400\n" + fields + "element face 0\nend_header\n"
    rows = np.zeros(400, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1")])
    for axis, values in zip("xyz", points.T, strict=True):
        rows[axis] = values
    binary = head.format("binary_little_endian 1.0").encode() + rows.tobytes()
    (tmp_path / "b.ply").write_bytes(binary)
    text = "\n".join(f"{x} {y} {z} 7" for x, y, z in points)
    (tmp_path / "c.ply").write_text(head.format("ascii 1.0") + text)
    for name in ("a.obj", "b.ply", "c.ply"):
        assert np.allclose(read_vertices(tmp_path / name), points, atol=1e-6)
    for name, content in (("d.ply", binary[:-9]), ("e.ply", b"ply"), ("f.obj", b"v 1 2"), ("g.obj", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_vertices(tmp_path / name)
