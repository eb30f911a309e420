"""What the kernels are told of a head: sizes, which are compiled in, and addresses."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from scene.blendshapes import MOTION_UNIT
from scene.shape_field import FREQUENCIES, WIDTH

# Views of one launch: network.cuh is told.
MAX_VIEWS = 16
# How the arguments of each kernel lie in memory, as Python's struct module says it.
_HEAD, _SPLATS, _GAUSSIANS, _WEIGHTS = "22Pf3i", "5P", "8P", "29P"
LAYOUTS = {
    "drive_forward": f"{_WEIGHTS}5P{4 * MAX_VIEWS}P3Pi0P",
    "mesh_forward": f"2P{MAX_VIEWS}P4P2i0P",
    "head_forward": f"{_HEAD}{_SPLATS}0P",
    "head_backward": f"{_HEAD}{_SPLATS}{_GAUSSIANS}3P0P",
    "drive_backward": f"{_WEIGHTS}{_WEIGHTS}4Pi0P",
    "confine": "12P3fi0P",
}
SOURCES = {
    "drive_forward": "drive.cu",
    "mesh_forward": "drive.cu",
    "drive_backward": "drive.cu",
    "head_forward": "head.cu",
    "head_backward": "head.cu",
    "confine": "confine.cu",
}
# Of each Gaussian, in the order of the kernels' struct.
GAUSSIANS = (
    *("xyz", "log_scale", "rotation", "tau"),
    *("opacity_offset", "blendshapes", "torso_logit", "color"),
)


def is_supported(head: nn.Module) -> bool:
    """Whether a head has the parts, and the sizes, that the kernels were written for."""
    a = head.architecture
    blocks = a.triplane_channels / a.num_derivations
    return (
        head.scaffold is not None
        and a.num_blendshapes > 0
        and a.deformation_depth == 2
        and a.sh_degree == 0
        and not a.flat_tau
        and blocks % 4 == 0
        # What is longer does not fit into a block's shared memory.
        and max(a.deformation_width, a.geometry_features, a.triplane_channels) <= 32
        and a.decoder_width <= 64
        and all(size % 4 == 0 for size in (a.deformation_width, a.geometry_features, a.decoder_width))
    )


def options_of(head: nn.Module, deforms: bool, tile: int, threads: int) -> dict[str, int | str]:
    """What is compiled in."""
    from scene.head_model import LEAST_OPACITY, POSE_GAIN
    from scene.scaffold import LOG_STRETCH

    a = head.architecture
    return {
        "NUM_EXPRESSION": a.expression_size,
        "SIGNAL_SIZE": head.known_signals.shape[1],
        "FIELD_WIDTH": a.deformation_width,
        "FREQUENCIES": a.position_frequencies,
        "SHAPE_FREQUENCIES": FREQUENCIES,
        "SHAPE_WIDTH": WIDTH,
        "NUM_BLENDSHAPES": a.num_blendshapes,
        "BLEND_WIDTH": head.blendshapes.weights[0].out_features,
        "NUM_DERIVATIONS": a.num_derivations,
        "NUM_CHANNELS": a.triplane_channels,
        "RESOLUTION": a.triplane_resolution,
        "DECODER_WIDTH": a.decoder_width,
        "NUM_GEOMETRY": a.geometry_features,
        "NUM_BALLS": len(head.scaffold.ball_centers),
        "POSE_CONDITIONING": int(a.pose_conditioning),
        "TORSO_TRACKING": int(a.torso_tracking),
        "TORSO_MEMBERSHIP": int(a.torso_membership),
        "DEFORMS": int(deforms),
        "TILE": tile,
        "THREADS": threads,
        "MAX_VIEWS": MAX_VIEWS,
        "EXPRESSION_GAIN": f"{float(a.expression_gain)!r}f",
        "POSE_GAIN": f"{POSE_GAIN!r}f",
        "MOTION_UNIT": f"{MOTION_UNIT!r}f",
        "LEAST_OPACITY": f"{LEAST_OPACITY!r}f",
        "LOG_STRETCH": f"{LOG_STRETCH!r}f",
    }


def linear_layers(head: nn.Module) -> tuple[nn.Linear, ...]:
    """The networks' layers, in the order of the kernels' struct."""
    shape, field, decoder = head.shape, head.deformation, head.decoder
    return (
        *(shape.layers[0], shape.layers[2], shape.head),
        *(field.layers[0], field.layers[1], field.xyz_head, field.rotation_head, field.log_scale_head),
        *(decoder.geometry, decoder.geometry_head, decoder.color, decoder.sh_dc_head),
        *(head.blendshapes.weights[0], head.blendshapes.weights[2]),
    )


def is_of_drive(layer_index: int) -> bool:
    """Whether a layer has a part only where a head deforms: the field, and the weights of blendshapes."""
    return 3 <= layer_index < 8 or layer_index >= 12


def parameters_of(head: nn.Module) -> tuple[Tensor, ...]:
    """All that is learned, in the order of the kernels' structs: of each Gaussian, layers, planes."""
    layers = (part for layer in linear_layers(head) for part in (layer.weight, layer.bias))
    return (*(getattr(head.gaussians, name) for name in GAUSSIANS), *layers, head.triplane.planes)


class Sizes:
    """Floats of what the kernels hand to each other; network.cuh has the same sums."""

    def __init__(self, options: dict[str, int | str]) -> None:
        o = {name: value for name, value in options.items() if isinstance(value, int)}
        field0 = 3 + 6 * o["FREQUENCIES"]
        field1 = o["FIELD_WIDTH"] + field0
        shape, decoder, geometry = o["SHAPE_WIDTH"], o["DECODER_WIDTH"], o["NUM_GEOMETRY"]
        # Inputs, with the bias where there is one, and outputs.
        self.layers = (
            *((3 + 6 * o["SHAPE_FREQUENCIES"] + 1, shape), (shape + 1, shape), (shape + 1, 3)),
            *((field0, o["FIELD_WIDTH"]), (field1, o["FIELD_WIDTH"]), (o["FIELD_WIDTH"] + 1, 10)),
            *((o["NUM_CHANNELS"] + 1, decoder), (decoder + 1, geometry + 1)),
            *((geometry + 1, decoder), (decoder + 1, 3)),
        )
        self.weights = sum(16 * _quads(size_in) * _quads(size_out) for size_in, size_out in self.layers)
        signals, blend, products = 2 * o["SIGNAL_SIZE"], 2 * o["NUM_BLENDSHAPES"], 4 * o["FIELD_WIDTH"]
        # What follows in the same piece of memory is read in fours.
        self.drive = 4 * _quads(signals + blend + products + 17 + 9 * o["NUM_BALLS"])
        self.planes = 3 * o["RESOLUTION"] ** 2 * o["NUM_CHANNELS"]
        tile = o["TILE"]
        rows = (
            *(_stride(self.layers[0][0]), 2 * _stride(shape + 1)),
            *(_stride(field1), _stride(o["FIELD_WIDTH"] + 1)),
            *(_stride(o["NUM_CHANNELS"] + 1), 2 * _stride(decoder + 1), _stride(geometry + 1)),
            *(_stride(10), 16, 16),
        )
        gradients = (
            *(2 * _stride(shape), _stride(3), 2 * _stride(o["FIELD_WIDTH"]), _stride(10)),
            *(2 * _stride(decoder), _stride(geometry + 1), _stride(3), _stride(o["NUM_CHANNELS"])),
            *(3 * o["NUM_DERIVATIONS"] + 1, 15),
        )
        more = (15, o["NUM_BLENDSHAPES"] + 1)
        # Bytes of shared memory.
        self.forward_bytes = 4 * tile * (sum(rows) + 1 + _stride(3))
        self.backward_bytes = self.forward_bytes + 4 * tile * (sum(gradients) + sum(more))
        self.drive_bytes = 4 * (24 + 2 * o["BLEND_WIDTH"])
        self.drive_backward_bytes = 4 * 4 * MAX_VIEWS * o["BLEND_WIDTH"]


def _quads(size: int) -> int:
    return -(-size // 4)


def _stride(size: int) -> int:
    return 4 * (_quads(size) | 1)


def addresses(tensors: Sequence[Tensor | None]) -> Iterator[int]:
    """Of tensors; 0 where there is none."""
    return (0 if tensor is None else tensor.data_ptr() for tensor in tensors)


def views_of(drives: Sequence, name: str) -> tuple[int, ...]:
    """Addresses of one part of each drive, as many as a struct has room for."""
    parts = [getattr(drive, name) for drive in drives]
    assert all(part is None or part.is_contiguous() for part in parts), name
    return (*addresses(parts), *[0] * (MAX_VIEWS - len(drives)))


def mesh_of(head: nn.Module) -> tuple[Tensor, ...]:
    """The scaffold as the kernels' struct Mesh has it."""
    s = head.scaffold
    return (
        *(s.triangles, s.neutral, s._rest_frames, s._rest_areas),
        *(s.limits, s.is_of_head, s.seen, s.color),
    )


def have_types(head: nn.Module) -> bool:
    """Whether all tensors are float32, or int32, and dense, as the kernels read them."""
    floats = (*parameters_of(head), head.known_signals, head.mean_pose, head.gaussians.barycentric)
    mesh = mesh_of(head)
    floats = (*floats, *mesh[1:5], *mesh[6:], head.scaffold.shapes)
    ints = mesh[0], head.gaussians.triangle
    return all(t.dtype is torch.float32 and t.is_contiguous() for t in floats) and all(
        t.dtype is torch.int32 and t.is_contiguous() for t in ints
    )
