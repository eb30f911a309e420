"""A scaffold in a file: only the triangles that carry Gaussians, and of the shapes only what moves.

A head model's mesh with all its shapes is 15 MB, most of it zeros, and much of it carries nobody. What
Gaussians on it learned is small: eight bits are enough for their blendshapes.
"""

import torch
from torch import Tensor

PREFIX = "scaffold."
# Of the largest displacement; less does not move anything by a hundredth of a pixel.
_NOTHING = 1e-3
# A head model has 60 shapes of 25,000 vertices.
_LARGEST_SHAPES = 1 << 25
_STEPS = "blendshape_steps"
_ROWS, _VERTICES, _VALUES = "shape_rows", "shape_vertices", "shape_values"


def pack_scaffold(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a head (`state_dict`) with its scaffold reduced and packed; others as they are."""
    if f"{PREFIX}triangles" not in tensors:
        return tensors
    mesh = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    used, triangle = torch.unique(tensors["gaussians.triangle"], return_inverse=True)
    used = used.long()
    vertices, corners = torch.unique(mesh["triangles"][used], return_inverse=True)
    vertices = vertices.long()
    for name in ("limits", "is_of_head", "seen"):
        mesh[name] = mesh[name][used]
    mesh["triangles"] = corners.int()
    mesh["neutral"], mesh["color"] = mesh["neutral"][vertices], mesh["color"][vertices].half()
    # What is left of a ball is in one piece.
    mesh["ball_ranges"] = torch.searchsorted(vertices, mesh["ball_ranges"].to(vertices.device))
    shapes = mesh.pop("shapes")[:, vertices]  # [E, V, 3]
    moves = shapes.abs().amax(dim=2) > _NOTHING * shapes.abs().max()
    rows, columns = moves.nonzero(as_tuple=True)
    mesh[_ROWS] = torch.bincount(rows, minlength=len(shapes)).int()
    mesh[_VERTICES], mesh[_VALUES] = columns.to(torch.int16), shapes[moves].half()
    bases = tensors["gaussians.blendshapes"]  # [N, B, 14]
    steps = bases.abs().amax(dim=0).clamp_min(1e-12) / 127
    mesh[_STEPS] = steps
    tensors = tensors | {"gaussians.blendshapes": (bases / steps).round().to(torch.int8)}
    others = {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}
    packed = {f"{PREFIX}{name}": value for name, value in mesh.items()}
    return {**others, "gaussians.triangle": triangle.int(), **packed}


def unpack_scaffold(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Invert `pack_scaffold` but for what was left out. Raises KeyError or RuntimeError for other tensors."""
    if f"{PREFIX}{_ROWS}" not in tensors:
        return tensors
    tensors = dict(tensors)
    counts, columns, values = (tensors.pop(f"{PREFIX}{name}") for name in (_ROWS, _VERTICES, _VALUES))
    num_vertices = len(tensors[f"{PREFIX}neutral"])
    if len(counts) * num_vertices > _LARGEST_SHAPES:
        raise RuntimeError(f"{len(counts)} shapes of {num_vertices} vertices, too many")
    if (counts < 0).any() or int(counts.sum(dtype=torch.int64)) != len(columns):
        raise RuntimeError("its shapes do not say what they move")
    shapes = torch.zeros(len(counts), num_vertices, 3)
    rows = torch.repeat_interleave(torch.arange(len(counts)), counts.long())
    shapes[rows, columns.long()] = values.float()
    tensors[f"{PREFIX}shapes"] = shapes
    tensors["gaussians.blendshapes"] = tensors["gaussians.blendshapes"] * tensors.pop(f"{PREFIX}{_STEPS}")
    tensors[f"{PREFIX}color"] = tensors[f"{PREFIX}color"].float()
    return tensors
