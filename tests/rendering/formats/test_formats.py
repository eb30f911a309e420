"""Each format is read back by a reader of its own, written from the format's description."""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from plyfile import PlyData

import export
from arguments.exporting import SUFFIXES
from rendering.formats.gltf import gltf_bytes
from rendering.formats.lam import lam_zip
from rendering.formats.spz import spz_bytes
from rendering.formats.still import still_splats
from scene.avatar import load_avatar, save_avatar
from tests.web.light_avatars import make_light_avatar


@pytest.fixture
def avatar():
    return make_light_avatar(100, num_bases=4)


@pytest.fixture
def splats(avatar):
    return still_splats(avatar, avatar.neutral_expression)


def rotation_matrices(xyzw):
    x, y, z, w = (xyzw / np.linalg.norm(xyzw, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def glb_of(data):
    magic, version, size, text_size = struct.unpack_from("<4sIII", data)
    assert (magic, version, size) == (b"glTF", 2, len(data))
    document, content = json.loads(data[20 : 20 + text_size]), data[28 + text_size :]

    def array(index):
        accessor = document["accessors"][index]
        kind = {5126: "<f4", 5125: "<u4", 5121: "u1"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
        start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        return np.frombuffer(content, kind, accessor["count"] * width, start).reshape(-1, width)

    return document, array


def test_spz_holds_the_splats_to_its_steps(splats):
    data = gzip.decompress(spz_bytes(splats))
    magic, version, num, degree, bits = struct.unpack_from("<4sIIBB", data)
    assert (magic, version, num, degree) == (b"NGSP", 3, 100, 1)
    assert len(data) == 16 + num * (9 + 1 + 3 + 3 + 4 + 9)
    at = 16
    for row in range(num):
        triple = data[at + 9 * row : at + 9 * row + 9]
        place = [int.from_bytes(triple[i : i + 3], "little", signed=True) / 2**bits for i in (0, 3, 6)]
        np.testing.assert_allclose(place, splats.means[row], atol=0.51 / 2**bits)
    alphas, packed = data[at + 9 * num : at + 10 * num], at + 16 * num
    np.testing.assert_allclose(np.frombuffer(alphas, "u1") / 255, splats.opacities, atol=0.51 / 255)
    xyzw = np.zeros((num, 4))
    for row, word in enumerate(struct.unpack_from(f"<{num}I", data, packed)):
        largest = word >> 30
        for part in (i for i in (3, 2, 1, 0) if i != largest):
            xyzw[row, part] = (word & 511) / 511 * 0.5**0.5 * (-1 if word >> 9 & 1 else 1)
            word >>= 10
        xyzw[row, largest] = (1 - (xyzw[row] ** 2).sum()) ** 0.5
    truth = rotation_matrices(splats.rotations.numpy()[:, [1, 2, 3, 0]])
    np.testing.assert_allclose(rotation_matrices(xyzw), truth, atol=0.01)


def test_gltf_holds_the_splats(splats):
    document, array = glb_of(gltf_bytes(splats))
    primitive = document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0 and document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    names = {name.split(":")[-1]: index for name, index in primitive["attributes"].items()}
    np.testing.assert_allclose(array(names["POSITION"]), splats.means, atol=1e-6)
    np.testing.assert_allclose(array(names["SCALE"]), splats.scales, rtol=1e-6)
    np.testing.assert_allclose(array(names["OPACITY"])[:, 0], splats.opacities, atol=1e-6)
    np.testing.assert_allclose(array(names["ROTATION"])[:, [3, 0, 1, 2]], splats.rotations, atol=1e-6)
    np.testing.assert_allclose(array(names["SH_DEGREE_1_COEF_2"]), splats.sh[:, 3], atol=1e-6)


def test_lam_moves_a_vertex_as_the_head_moves_its_splat(avatar, splats):
    archive = zipfile.ZipFile(io.BytesIO(lam_zip(avatar, "me")))
    document, array = glb_of(archive.read("me/skin.glb"))
    mesh = document["meshes"][0]
    names, primitive = mesh["extras"]["targetNames"], mesh["primitives"][0]
    assert len(names) == len(primitive["targets"]) == 51 and "tongueOut" not in names
    target = array(primitive["targets"][names.index("jawOpen")]["POSITION"])
    moved = still_splats(avatar, avatar.expression(jawOpen=1.0)).means
    assert np.abs(target).max() > 1e-3
    # In metres, where the head of a standing person is.
    vertices = array(primitive["attributes"]["POSITION"]) + target
    np.testing.assert_allclose((vertices - [0, 1.65, 0]) / 0.42, moved, atol=1e-5)
    rows = PlyData.read(io.BytesIO(archive.read("me/offset.ply")))["vertex"]
    assert len(rows.data) == 100 and not rows["x"].any()
    sizes = np.stack([rows[f"scale_{axis}"] for axis in range(3)], axis=1)
    np.testing.assert_allclose(np.exp(sizes) / 0.42, splats.scales, rtol=1e-5)
    assert json.loads(archive.read("me/vertex_order.json")) == list(range(100))
    # What the player finds by name or place: the folder's entry, the root joint, clips in its order.
    assert archive.getinfo("me/").is_dir()
    assert document["nodes"][document["skins"][0]["skeleton"]]["name"] == "hip"
    clips = glb_of(archive.read("me/animation.glb"))[0]["animations"]
    names = [clip["name"].rstrip("0123456789") for clip in clips]
    assert names == ["hello"] * 2 + ["idle"] + ["speak"] * 6 + ["think"] * 3


@pytest.mark.parametrize("kind", ["ply", "spz", "gltf", "lam"])
def test_export_writes_the_file_of_a_format(avatar, tmp_path, kind):
    save_avatar(avatar, tmp_path / "me_light.safetensors")
    export.main(["-m", str(tmp_path / "me_light.safetensors"), "--format", kind, "--quiet"])
    assert (tmp_path / f"me{SUFFIXES[kind]}").stat().st_size > 1000


def test_a_ply_has_y_down(avatar, splats, tmp_path):
    save_avatar(avatar, tmp_path / "me.safetensors")
    export.main(["-m", str(tmp_path / "me.safetensors"), "--format", "ply"])
    rows = PlyData.read(tmp_path / "me.ply")["vertex"]
    places = np.stack([rows[axis] for axis in "xyz"], axis=1) * [1, -1, -1]
    # The file of a light form rounds its splats.
    np.testing.assert_allclose(places, splats.means, atol=0.02)


def places_of(path):
    rows = PlyData.read(path)["vertex"]
    return np.stack([rows[axis] for axis in "xyz"], axis=1) * [1, -1, -1]


def test_expressions_are_clipped_as_render_py_clips_them(avatar, tmp_path, capsys):
    save_avatar(avatar, tmp_path / "me.safetensors")
    places = {}
    for text in ("jawOpen=3,eyeBlinkLeft=-1", "jawOpen=1,eyeBlinkLeft=0", "jawOpen=0.5,eyeBlinkLeft=0"):
        flags = ["-m", str(tmp_path / "me.safetensors"), "--format", "ply", "--expression", text]
        export.main([*flags, "-o", str(tmp_path / "out.ply")])
        places[text] = places_of(tmp_path / "out.ply")
    assert capsys.readouterr().err.strip() == "--expression: 2 of 2 coefficients clipped to [0, 1]"
    beyond, most, half = places.values()
    np.testing.assert_array_equal(beyond, most)
    assert np.abs(most - half).max() > 1e-4


def test_a_sequence_is_numbered_and_each_file_is_its_frame(avatar, tmp_path, capsys):
    save_avatar(avatar, tmp_path / "me.safetensors")
    export.main(["-m", str(tmp_path / "me.safetensors"), "--format", "ply", "--frames", "3", "--quiet"])
    paths = sorted(tmp_path.glob("*.ply"))
    assert [path.name for path in paths] == ["me_00000.ply", "me_00001.ply", "me_00002.ply"]
    assert "me_00000.ply to me_00002.ply: 3 frames" in capsys.readouterr().out
    stored = load_avatar(tmp_path / "me.safetensors")
    for path, expression in zip(paths, stored.motion, strict=False):
        np.testing.assert_allclose(places_of(path), still_splats(stored, expression).means, atol=1e-6)
    first, second = map(places_of, paths[:2])
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "ply", "--expression", "nose=1"], "expression 'nose' is unknown"),
        (["--format", "ply", "--expression", "jawOpen"], "--expression jawOpen: expected NAME=NUMBER"),
        (["--format", "ply", "--frames", "99999"], "--frames 99999: the avatar brings"),
        (["--format", "spz", "--frames", "2"], "--frames: expected --format ply"),
        (["--format", "lam", "--expression", "jawOpen=1"], "--expression: expected --format ply, spz, gltf"),
        (["--format", "ply", "--max_megabytes", "1"], "--max_megabytes: is of the light form, the page"),
        (["--format", "gltf", "--max_yaw", "50"], "--max_yaw: is of the light form, the page"),
        (["--format", "lam", "--max_yaw", "20"], "is a light form already"),
        (["--format", "lam", "--max_megabytes", "2"], "is a light form already"),
    ],
)
def test_bad_input_is_one_line(avatar, tmp_path, capsys, flags, message):
    save_avatar(avatar, tmp_path / "me.safetensors")
    with pytest.raises(SystemExit) as stop:
        export.main(["-m", str(tmp_path / "me.safetensors"), *flags])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and len(error.strip().splitlines()) == 1
