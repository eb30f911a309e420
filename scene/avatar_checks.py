"""What an avatar's file says of itself, held against what is in it, before anything is made of it.

A digest shows that a file is as it was written, not who wrote it: sizes bound what is allocated, and indices
what kernels read.
"""

import math
from dataclasses import fields

import torch
from torch import Tensor

from scene.cameras import Camera
from scene.head_model import Architecture
from scene.scaffold import ScaffoldMesh

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


def checked_architecture(head: dict, state: dict[str, Tensor]) -> Architecture:
    """The architecture of a stored head, held against the state that is there.

    Raises ValueError, TypeError or KeyError.
    """
    architecture = Architecture(**head["architecture"])
    check_sizes(architecture, state)
    if architecture.scaffold:
        check_scaffold(state, architecture.expression_size)
    degree = head["active_sh_degree"]
    if type(degree) is not int or not 0 <= degree <= architecture.sh_degree:
        raise ValueError(f"active_sh_degree: {degree!r}, expected 0 to {architecture.sh_degree}")
    if type(head["deforms"]) is not bool:
        raise TypeError(f"deforms: {head['deforms']!r}, expected true or false")
    return architecture


def check_sizes(a: Architecture, state: dict[str, Tensor]) -> None:
    """Hold the sizes of an architecture against the tensors that are there, before others are made of them.

    (A head on PyTorch's meta device would tell all shapes, and takes 2.4 s at its first use.) Raises
    ValueError, TypeError or KeyError.
    """
    for option in fields(a):
        value = getattr(a, option.name)
        kinds = (int, float) if option.type is float else (option.type,)
        if type(value) not in kinds or not math.isfinite(value):
            raise TypeError(f"architecture: {option.name}: {value!r}, expected {option.type.__name__}")
    bounds = {"deformation_depth": (1, 64), "position_frequencies": (0, 30), "sh_degree": (0, 3)}
    bounds |= {"expression_size": (1, LARGEST_EXPRESSION)}
    for name, (least, most) in bounds.items():
        value = getattr(a, name)
        if not least <= value <= most:
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


def check_scaffold(state: dict[str, Tensor], expression_size: int) -> None:
    """Refuse a scaffold whose parts do not fit one another, or that names what is not there.

    Raises ValueError or KeyError.
    """
    mesh = {name: state[f"scaffold.{name}"] for name in ScaffoldMesh._fields}
    num_vertices, num_triangles, num_balls = (len(mesh[n]) for n in ("neutral", "triangles", "ball_ranges"))
    shapes = {
        "neutral": (num_vertices, 3),
        "shapes": (expression_size, num_vertices, 3),
        "triangles": (num_triangles, 3),
        "limits": (num_triangles, 3),
        "is_of_head": (num_triangles,),
        "seen": (num_triangles,),
        "color": (num_vertices, 3),
        "ball_ranges": (num_balls, 2),
        "ball_centers": (num_balls, 3),
        "ball_turns": (num_balls, 3, expression_size),
    }
    for name, shape in shapes.items():
        if tuple(mesh[name].shape) != shape:
            raise ValueError(f"scaffold.{name}: shape {list(mesh[name].shape)}, expected {list(shape)}")
    for name, indices, count in (
        ("scaffold.triangles", mesh["triangles"], num_vertices),
        ("scaffold.ball_ranges", mesh["ball_ranges"], num_vertices + 1),
        ("gaussians.triangle", state["gaussians.triangle"], num_triangles),
    ):
        if indices.is_floating_point() or indices.dtype == torch.bool:
            raise ValueError(f"{name}: {indices.dtype}, expected whole numbers")
        if indices.numel() and not 0 <= indices.min() <= indices.max() < count:
            raise ValueError(f"{name}: expected indices below {count}")
