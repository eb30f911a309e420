"""A head of the published code on a GPU, by two kernels: what scene/published_head.py says, for pictures.

`published_field.cu` is the deformation network: all layers in one launch, on tensor cores, in halves with
sums in float32; the last layers and the offsets with both factors as sums of two halves, which is float32 but
for its last digits (docs/published.md has what that costs and gains). `published_decode.cu` is the rest.

What no expression changes is computed once: the products of the encoded places, and weights in the order in
which tensor cores take them. A head is not learned, so nothing tells when its tensors change: make another.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diff_gaussian_rasterization import Splats, has_kernels
from diff_gaussian_rasterization.cuda import compiler
from diff_gaussian_rasterization.cuda.driver import Kernel, Library, current_stream
from scene.cameras import Camera

KERNELS = Path(__file__).parent / "fused" / "kernels"
LAYOUTS = {"published_field": "8Pi0P", "published_decode": "14Pi0P"}
# Tensor cores that take halves as these kernels give them.
LEAST_CAPABILITY = (8, 0)
# From this layer on with all digits: rounding there counts most.
FIRST_PRECISE = 6
# Gaussians of a block of the first kernel: of two small blocks on a multiprocessor one computes while the
# other waits for memory; where it has no room for two, a large one has as many threads.
SMALL, LARGE = 64, 128
DECODE_THREADS, DECODE_ROWS = 128, 64
# Shared memory that the driver takes of each block.
RESERVED = 1024
STRIDE = 12


class Packed(NamedTuple):
    """Of a head, for the kernels."""

    first: Tensor  # [N, 256] product of the encoded places in layer 0
    rejoined: Tensor  # [N, 256] in layer 5
    common: Tensor  # [512, E] of both, what the expression is multiplied with
    common_bias: Tensor  # [512]
    biases: Tensor  # [8, 256]
    stages: Tensor  # halves, of layers 1 to 7
    last: Tensor  # halves, of the offsets
    last_bias: Tensor  # [16]
    planes: Tensor  # [3, 64, 64, 8]
    decoders: Tensor  # halves
    of_direction: Tensor  # [3, 48]


def applies(head: nn.Module, cameras: Sequence[Camera], expressions: Sequence[Tensor]) -> bool:
    """Whether the kernels can do it: in float32 on a CUDA device, and no gradient wanted."""
    device = head.xyz.device
    if not head.uses_kernels or device.type != "cuda":
        return False
    given = [*expressions, *(camera.world_to_camera for camera in cameras)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return False
    if any(tensor.dtype is not torch.float32 or tensor.device != device for tensor in given):
        return False
    return has_kernels(device) and torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY


def driven_splats(head: nn.Module, cameras: Sequence[Camera], expressions: Sequence[Tensor]) -> Splats:
    """The splats of V expressions of a head as V cameras see them, each [V, N, ...]; where `applies`."""
    with torch.cuda.device(head.xyz.device):
        return splats_by(_kernels(head.xyz.get_device()), head, cameras, expressions)


def offsets(head: nn.Module, expressions: Sequence[Tensor]) -> Tensor:
    """Offsets of mean, quaternion and scale, [V, N, 10]; where `applies`."""
    with torch.cuda.device(head.xyz.device):
        return offsets_by(_kernels(head.xyz.get_device()), head, expressions)[..., :10]


def splats_by(kernels, head: nn.Module, cameras: Sequence[Camera], expressions: Sequence[Tensor]) -> Splats:
    """The same by kernels that are given."""
    packed = _packed(head)
    num, num_views, make = len(head.xyz), len(cameras), head.xyz.new_empty
    moved = offsets_by(kernels, head, expressions) if head.deforms else None
    poses = _stacked([camera.world_to_camera for camera in cameras])
    out = [make(num_views, num, *shape) for shape in ((3,), (), (6,), (16, 3))]
    tensors = (
        *(head.xyz, head.log_scale, head.rotation, head.zooms, moved, packed.planes, poses),
        *(packed.decoders, head.sh_bias, packed.of_direction, *out),
    )
    pointers = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    kernels.launch("published_decode", -(-num // DECODE_ROWS), num_views, (*pointers, num))
    means, opacities, covariances, sh = out
    return Splats(means, opacities, scales=None, rotations=None, sh=sh, cov3d=covariances)


def offsets_by(kernels, head: nn.Module, expressions: Sequence[Tensor]) -> Tensor:  # [V, N, 12]
    """The same by kernels that are given; two numbers are padding."""
    packed = _packed(head)
    common = torch.addmm(packed.common_bias, _stacked(expressions), packed.common.t())  # [V, 512]
    moved = head.xyz.new_empty(len(expressions), len(head.xyz), STRIDE)
    tensors = (packed.first, packed.rejoined, common, *packed[4:8], moved)
    blocks = -(-len(head.xyz) // kernels.rows)
    pointers = [tensor.data_ptr() for tensor in tensors]
    kernels.launch("published_field", blocks, len(expressions), (*pointers, len(head.xyz)))
    return moved


def options_of(rows: int) -> dict[str, dict[str, int]]:
    """What is compiled in, by kernel."""
    return {
        "published_field": {"ROWS": rows, "THREADS": 2 * rows, "FIRST_PRECISE": FIRST_PRECISE},
        "published_decode": {"THREADS": DECODE_THREADS},
    }


def shared_bytes(rows: int) -> dict[str, int]:
    """Of a block, by kernel: activations of two halves and two stages; means and directions."""
    return {"published_field": 2 * 2 * 256 * rows + 2 * 16384, "published_decode": 4 * 7 * DECODE_ROWS}


def rows_for(of_block: int, of_processor: int) -> int:
    """Gaussians of a block, where blocks and multiprocessors have so much shared memory."""
    small, large = (shared_bytes(rows)["published_field"] for rows in (SMALL, LARGE))
    has_room_for_two = 2 * (small + RESERVED) <= of_processor
    return LARGE if large <= of_block and not has_room_for_two else SMALL


class Kernels:
    """The kernels on one device."""

    def __init__(self, index: int) -> None:
        properties = torch.cuda.get_device_properties(index)
        self.rows = rows_for(
            properties.shared_memory_per_block_optin, properties.shared_memory_per_multiprocessor
        )
        self._index, self._shared = index, shared_bytes(self.rows)
        self._kernels = {}
        for name, options in options_of(self.rows).items():
            capability = torch.cuda.get_device_capability(index)
            code = compiler.machine_code(KERNELS / f"{name}.cu", capability, options)
            kernel = Kernel(Library(code, index), name, LAYOUTS[name], options["THREADS"])
            kernel.allow_shared(self._shared[name])
            self._kernels[name] = kernel

    def launch(self, name: str, blocks: int, views: int, arguments: tuple[int, ...]) -> None:
        """Launch one on PyTorch's current stream."""
        stream = current_stream(self._index)
        self._kernels[name].launch((blocks, views), stream, arguments, self._shared[name])


@functools.cache
def _kernels(index: int) -> Kernels:
    return Kernels(index)


def _packed(head: nn.Module) -> Packed:
    if head.packed is None or head.packed.first.device != head.xyz.device:
        with torch.no_grad():
            head.packed = pack(head)
    return head.packed


def pack(head: nn.Module) -> Packed:
    """What the kernels read of a head."""
    parts = {i: head.parts_of_layer(i) for i in (0, 5)}
    biases = torch.stack([head.layer(f"field.{i}")[1] for i in range(8)])
    inner = [parts[5][2] if i == 5 else head.layer(f"field.{i}")[0] for i in range(1, 8)]
    stages = [_precise(weight) if i >= FIRST_PRECISE else _plain(weight) for i, weight in enumerate(inner, 1)]
    last, last_bias = head.layer("offsets")
    # Opacity behind the geometry, whose columns are the factors of what follows.
    numbers = _padded(torch.cat([head.decoder_2[1:], head.decoder_2[:1]]), 40)
    of_geometry, of_direction = head.sh_weight.split([32, 3], dim=1)
    decoders = (head.decoder_0, head.decoder_1, numbers, of_geometry)
    return Packed(
        first=head.encoding @ parts[0][0].t(),
        rejoined=head.encoding @ parts[5][0].t(),
        common=torch.cat([parts[0][1], parts[5][1]]),
        common_bias=torch.cat([biases[0], biases[5]]),
        biases=biases,
        stages=torch.cat([stage.flatten() for stage in stages]),
        last=_precise(_padded(last, 16)),
        last_bias=_padded(last_bias, 16),
        planes=head.planes.permute(0, 2, 3, 1).contiguous(),
        decoders=torch.cat([_precise(weight).flatten() for weight in decoders]),
        of_direction=of_direction.t().contiguous(),
    )


def _fragments(weight: Tensor) -> Tensor:  # [out, in] -> [in / 16, out / 8, 32, 4] halves
    """As lanes hold right factors (halves.cuh)."""
    rows, columns = weight.shape
    parts = weight.half().view(rows // 8, 8, columns // 16, 2, 4, 2)  # product, g, step, half, t, pair
    return parts.permute(2, 0, 1, 4, 3, 5).reshape(columns // 16, rows // 8, 32, 4)


def _plain(weight: Tensor) -> Tensor:  # [in / 16, out / 16, 32, 2, 4]
    """Two products side by side in a lane's 16 bytes."""
    parts = _fragments(weight)
    return parts.view(len(parts), -1, 2, 32, 4).transpose(2, 3).contiguous()


def _precise(weight: Tensor) -> Tensor:  # [in / 16, out / 8, 32, 2, 4]
    """High and low half in a lane's 16 bytes."""
    return torch.stack([_fragments(weight), _fragments(weight - weight.half().float())], dim=3)


def _padded(rows: Tensor, num: int) -> Tensor:
    """With zeros, so many rows."""
    return torch.cat([rows, rows.new_zeros(num - len(rows), *rows.shape[1:])])


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0][None].contiguous() if len(tensors) == 1 else torch.stack(list(tensors))
