"""What an avatar's file says of itself, held against what is in it, before anything is made of it.

A digest shows that a file is as it was written, not who wrote it: sizes bound what is allocated, and indices
what kernels read.
"""

import math

import torch
from torch import Tensor

from scene.cameras import Camera
from scene.head_model import Architecture

# Of a picture, pixels.
LARGEST_SIDE = 16_384
LARGEST_EXPRESSION = 10_000


def checked_camera(stored: dict) -> Camera:
    """The camera of a file. Raises ValueError, TypeError or KeyError."""
    pose = torch.tensor(stored["world_to_camera"])
    camera = Camera(**(stored | {"world_to_camera": pose}))
    if pose.shape != (4, 4) or not pose.isfinite().all():
        raise ValueError("camera: world_to_camera: expected 4 x 4 finite numbers")
    for name in ("width", "height"):
        value = getattr(camera, name)
        if type(value) is not int or not 0 < value <= LARGEST_SIDE:
            raise ValueError(f"camera: {name}: expected 1 to {LARGEST_SIDE} pixels")
    for name in ("fx", "fy", "cx", "cy", "near"):
        if not math.isfinite(getattr(camera, name)):
            raise ValueError(f"camera: {name}: expected a finite number")
    return camera


def check_sizes(a: Architecture, state: dict[str, Tensor]) -> None:
    """Hold the sizes of an architecture against the tensors that are there, before others are made of them.

    (A head on PyTorch's meta device would tell all shapes, and takes 2.4 s at its first use.) Raises
    ValueError, TypeError or KeyError.
    """
    bounds = {"deformation_depth": (1, 64), "position_frequencies": (0, 30), "sh_degree": (0, 3)}
    bounds |= {"expression_size": (1, LARGEST_EXPRESSION)}
    for name, (least, most) in bounds.items():
        value = getattr(a, name)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"architecture: {name}: {value}, expected {least} to {most}")
    num, width = len(state["gaussians.xyz"]), a.deformation_width
    expected = {
        "triplane.planes": (3, a.triplane_channels, a.triplane_resolution, a.triplane_resolution),
        "gaussians.tau": (num, a.num_derivations, 4),
        "gaussians.blendshapes": (num, a.num_blendshapes, *state["gaussians.blendshapes"].shape[2:]),
        "decoder.color.weight": (a.decoder_width, a.geometry_features + 3),
        **{f"deformation.layers.{i}.bias": (width,) for i in range(a.deformation_depth)},
    }
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise ValueError(f"{name}: shape {list(state[name].shape)}, expected {list(shape)}")
    for i in range(1, a.deformation_depth):
        if state[f"deformation.layers.{i}.weight"].shape[1] < width:
            raise ValueError(f"deformation.layers.{i}.weight: expected {width} columns or more")


def check_indices(state: dict[str, Tensor]) -> None:
    """Refuse a scaffold whose triangles name vertices, or whose Gaussians triangles, that are not there.

    Raises ValueError.
    """
    triangles, num_vertices = state["scaffold.triangles"], len(state["scaffold.neutral"])
    of_vertices = {"scaffold.color": 0, "scaffold.shapes": 1}
    of_triangles = dict.fromkeys(("scaffold.limits", "scaffold.is_of_head", "scaffold.seen"), 0)
    for sizes, count in ((of_vertices, num_vertices), (of_triangles, len(triangles))):
        for name, axis in sizes.items():
            if state[name].shape[axis] != count:
                raise ValueError(
                    f"{name}: shape {list(state[name].shape)}, expected {count} along axis {axis}"
                )
    for name, indices, count in (
        ("scaffold.triangles", triangles, num_vertices),
        ("scaffold.ball_ranges", state["scaffold.ball_ranges"], num_vertices + 1),
        ("gaussians.triangle", state["gaussians.triangle"], len(triangles)),
    ):
        if indices.numel() and not 0 <= indices.min() <= indices.max() < count:
            raise ValueError(f"{name}: expected indices below {count}")
