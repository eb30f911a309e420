"""Splats as a PLY file in the layout of the 3DGS family, which public viewers and converters read.

One vertex per Gaussian, float32, binary little endian: x y z, nx ny nz (zero), f_dc_0..2, f_rest_0..,
opacity (logit), scale_0..2 (log), rot_0..3 (wxyz). f_rest runs over the bases of red, then of green, then of
blue. A file like this is an export of one expression, never a checkpoint.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError
from torch import Tensor

from utils.errors import UserError
from utils.files import replacing
from utils.spherical_harmonics import degree_of

# Bytes.
_LARGEST_HEADER = 1 << 16


class PlySplats(NamedTuple):
    """What such a file holds; float32, raw values (before sigmoid, exp and normalisation)."""

    means: Tensor  # [N, 3] world
    sh_dc: Tensor  # [N, 3]
    sh_rest: Tensor  # [N, S - 1, 3]
    opacity_logits: Tensor  # [N]
    log_scales: Tensor  # [N, 3]
    rotations: Tensor  # [N, 4] wxyz


def save_ply(
    path: str | Path,
    means: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    opacity_logits: Tensor,
    log_scales: Tensor,
    rotations: Tensor,
) -> None:
    """Write the file; makes the folder. The tensors are those of `PlySplats`, any floating type and device.

    Raises UserError where the file system refuses.
    """
    splats = PlySplats(means, sh_dc, sh_rest, opacity_logits, log_scales, rotations)
    num_splats, num_rest = splats.means.shape[0], splats.sh_rest.shape[1]
    degree_of(num_rest + 1)
    for name, shape in _shapes(num_splats, num_rest).items():
        found = tuple(getattr(splats, name).shape)
        if found != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(found)}")
    normals = torch.zeros_like(splats.means)
    by_channel = splats.sh_rest.transpose(1, 2).reshape(num_splats, 3 * num_rest)  # [N, 3 (S - 1)]
    logits = splats.opacity_logits[:, None]
    columns = (splats.means, normals, splats.sh_dc, by_channel, logits, splats.log_scales, splats.rotations)
    rows = torch.cat(columns, dim=1).detach().cpu().numpy().astype("<f4")
    _write(path, rows.view([(name, "<f4") for name in _property_names(num_rest)])[:, 0])


def save_points(path: str | Path, points: Tensor) -> None:
    """Write points [N, 3] as the family's input.ply: x y z, nx ny nz (zero), red green blue (grey).

    Makes the folder. Raises UserError where the file system refuses.
    """
    floats, colors = ("x", "y", "z", "nx", "ny", "nz"), ("red", "green", "blue")
    vertices = np.zeros(len(points), [(name, "<f4") for name in floats] + [(name, "u1") for name in colors])
    for axis, name in enumerate("xyz"):
        vertices[name] = points[:, axis].detach().cpu().numpy()
    for name in colors:
        vertices[name] = 128
    _write(path, vertices)


def load_ply(path: str | Path) -> PlySplats:
    """Read such a file, any SH degree up to 3. Raises UserError where it is missing, damaged or other."""
    try:
        _check_counts(Path(path))
        vertices = PlyData.read(str(path))["vertex"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except (PlyParseError, KeyError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: no readable PLY file with vertices ({error})") from error
    present = [prop.name for prop in vertices.properties]
    num_rest = sum(name.startswith("f_rest_") for name in present) // 3
    if num_rest not in (0, 3, 8, 15):
        raise UserError(f"{path}: f_rest_*: expected 0, 9, 24 or 45 of them, found {3 * num_rest}")
    missing = [n for n in _property_names(num_rest) if n not in present and n not in ("nx", "ny", "nz")]
    if missing:
        raise UserError(f"{path}: vertex property {missing[0]}: expected, not there")

    def columns(*names: str) -> Tensor:
        values = [np.asarray(vertices[name], dtype=np.float32) for name in names]
        return torch.from_numpy(np.stack(values, axis=1)) if values else torch.zeros(len(vertices.data), 0)

    rest = columns(*(f"f_rest_{i}" for i in range(3 * num_rest)))
    return PlySplats(
        means=columns("x", "y", "z"),
        sh_dc=columns("f_dc_0", "f_dc_1", "f_dc_2"),
        sh_rest=rest.view(len(rest), 3, num_rest).transpose(1, 2).contiguous(),  # [N, S - 1, 3]
        opacity_logits=columns("opacity")[:, 0],
        log_scales=columns("scale_0", "scale_1", "scale_2"),
        rotations=columns("rot_0", "rot_1", "rot_2", "rot_3"),
    )


def _check_counts(path: Path) -> None:
    """Refuse a header that promises more numbers than the file has bytes. Raises OSError or ValueError."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(_LARGEST_HEADER)
    numbers = count = 0
    for line in header.partition(b"end_header")[0].splitlines():
        words = line.split()
        if words[:1] == [b"element"] and len(words) == 3:
            count = int(words[2])
            if not 0 <= count <= size:
                raise ValueError(f"{count} elements in {size} bytes")
        elif words[:1] == [b"property"]:
            numbers += count
    if numbers > size:
        raise ValueError(f"{numbers} numbers in {size} bytes")


def _write(path: str | Path, vertices: np.ndarray) -> None:
    with replacing(path) as partial:
        PlyData([PlyElement.describe(vertices, "vertex")], text=False, byte_order="<").write(str(partial))


def _shapes(num_splats: int, num_rest: int) -> dict[str, tuple[int, ...]]:
    return {
        "means": (num_splats, 3),
        "sh_dc": (num_splats, 3),
        "sh_rest": (num_splats, num_rest, 3),
        "opacity_logits": (num_splats,),
        "log_scales": (num_splats, 3),
        "rotations": (num_splats, 4),
    }


def _property_names(num_rest: int) -> list[str]:
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(3 * num_rest)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    return names
