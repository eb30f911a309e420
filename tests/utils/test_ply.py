import struct

import numpy as np
import pytest
import torch
from plyfile import PlyData

from utils.errors import UserError
from utils.ply import PlySplats, load_ply, save_ply, save_points


def _splats(num, num_rest):
    generator = torch.Generator().manual_seed(0)
    shapes = ((num, 3), (num, 3), (num, num_rest, 3), (num,), (num, 3), (num, 4))
    return PlySplats(*(torch.randn(*shape, generator=generator) for shape in shapes))


@pytest.mark.parametrize("num_rest", [0, 3, 8, 15])
@pytest.mark.parametrize("num", [0, 1, 7])
def test_splats_come_back_bit_for_bit(tmp_path, num, num_rest):
    splats = _splats(num, num_rest)
    save_ply(tmp_path / "deep" / "point_cloud.ply", *splats)
    for name, saved, loaded in zip(
        PlySplats._fields, splats, load_ply(tmp_path / "deep" / "point_cloud.ply"), strict=True
    ):
        assert loaded.shape == saved.shape, name
        assert torch.equal(loaded, saved), name


def test_bytes_follow_the_familys_layout(tmp_path):
    splats = _splats(2, 15)
    save_ply(tmp_path / "point_cloud.ply", *splats)
    header, body = (tmp_path / "point_cloud.ply").read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 2"]
    names = [line.split()[2] for line in lines if line.startswith("property")]
    assert all(line.startswith("property float ") for line in lines[3:])
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{i}" for i in range(45)]
    assert names[54:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    second = dict(zip(names, struct.unpack("<62f", body[62 * 4 :]), strict=True))
    assert second["nx"] == second["ny"] == second["nz"] == 0
    assert second["opacity"] == splats.opacity_logits[1].item()
    assert second["rot_0"] == splats.rotations[1, 0].item()
    for channel in range(3):
        for basis in range(15):
            assert second[f"f_rest_{15 * channel + basis}"] == splats.sh_rest[1, basis, channel].item()


def test_points_are_written_with_normals_and_grey_colours(tmp_path):
    points = torch.randn(6, 3)
    save_points(tmp_path / "input.ply", points)
    vertices = PlyData.read(str(tmp_path / "input.ply"))["vertex"]
    assert [p.name for p in vertices.properties] == ["x", "y", "z", "nx", "ny", "nz", "red", "green", "blue"]
    assert np.array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=1), points.numpy())
    for name, value in [("nx", 0), ("ny", 0), ("nz", 0), ("red", 128), ("green", 128), ("blue", 128)]:
        assert vertices[name].tolist() == [value] * 6


def test_wrong_shape_is_named(tmp_path):
    splats = _splats(4, 3)._replace(rotations=torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"rotations: expected shape \[4, 4\], got \[4, 3\]"):
        save_ply(tmp_path / "point_cloud.ply", *splats)


def test_unusable_files_are_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"absent\.ply: cannot be read"):
        load_ply(tmp_path / "absent.ply")
    (tmp_path / "noise.ply").write_bytes(b"solid\n")
    with pytest.raises(UserError, match=r"noise\.ply: no readable PLY"):
        load_ply(tmp_path / "noise.ply")
    header = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n"
    (tmp_path / "points.ply").write_text(header)
    with pytest.raises(UserError, match=r"points\.ply: vertex property y: expected, not there"):
        load_ply(tmp_path / "points.ply")
    save_ply(tmp_path / "cut.ply", *_splats(5, 3))
    (tmp_path / "cut.ply").write_bytes((tmp_path / "cut.ply").read_bytes()[:-10])
    with pytest.raises(UserError, match=r"cut\.ply: no readable PLY"):
        load_ply(tmp_path / "cut.ply")
