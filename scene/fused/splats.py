"""From a head and some drives to splats, through the kernels: the launches, and autograd's node."""

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from diff_gaussian_rasterization import Splats, has_kernels
from diff_gaussian_rasterization.cuda import compiler
from diff_gaussian_rasterization.cuda.driver import Kernel, Library, current_stream
from scene.fused import layout
from scene.fused.layout import GAUSSIANS, LAYOUTS, MAX_VIEWS, SOURCES, Sizes, addresses
from scene.views import Drive

KERNELS = Path(__file__).parent / "kernels"
THREADS = 256
# Gaussians of a block: the largest that lets two blocks share a multiprocessor's memory.
TILES = (32, 16)
# Blocks that pack and unpack weights beside those of the views.
PACKING_BLOCKS = 64
BLOCKS_PER_PROCESSOR = 2


def applies(head: nn.Module, drives: Sequence[Drive] = ()) -> bool:
    """Whether the kernels can do what `head` does with these drives: a head on a scaffold with the networks
    of preset `best`, in float32 on a CUDA device, and no gradient wanted of a drive."""
    device = head.gaussians.xyz.device
    if not head.uses_kernels or device.type != "cuda":
        return False
    given = [tensor for drive in drives for tensor in drive if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return False
    if any(tensor.dtype is not torch.float32 or tensor.device != device for tensor in given):
        return False
    return layout.is_supported(head) and has_kernels(device) and layout.have_types(head)


def driven_splats(head: nn.Module, drives: Sequence[Drive]) -> Splats:
    """The splats of V drives of a head, each [V, N, ...]; where `applies`."""
    drives = tuple(
        Drive(*(None if t is None else t.detach().contiguous() for t in drive)) for drive in drives
    )
    parts = []
    with torch.cuda.device(head.gaussians.xyz.device):
        for start in range(0, len(drives), MAX_VIEWS):
            call = Call(head, drives[start : start + MAX_VIEWS], kernels_for(head))
            parts.append(_Driven.apply(call, *layout.parameters_of(head)))
    means, opacities, scales, rotations, colors = (
        part[0] if len(part) == 1 else torch.cat(part) for part in zip(*parts, strict=True)
    )
    return Splats(means, opacities, scales, rotations, colors[:, :, None])


def confine_(head: nn.Module, pull: float, largest_log_scale: float, smallest_unseen: float) -> None:
    """What `GaussianHead.confine_` does; where `applies`."""
    with torch.cuda.device(head.gaussians.xyz.device):
        confine_by(kernels_for(head), head, pull, largest_log_scale, smallest_unseen)


def confine_by(kernels, head: nn.Module, *limits: float) -> None:
    """The same by kernels that are given."""
    gaussians = head.gaussians
    learned = gaussians.xyz.detach(), gaussians.log_scale.detach()
    places = gaussians.triangle, gaussians.barycentric
    pointers = addresses((*learned, *places, *layout.mesh_of(head)))
    kernels.launch("confine", -(-len(gaussians) // kernels.threads), (*pointers, *limits, len(gaussians)))


class Kernels:
    """The kernels for heads of one kind on one device."""

    def __init__(self, index: int, options: dict[str, int | str]) -> None:
        self.sizes = Sizes(options)
        self.tile, self.threads = options["TILE"], THREADS
        self.num_processors = torch.cuda.get_device_properties(index).multi_processor_count
        capability = torch.cuda.get_device_capability(index)
        codes = {
            source: _code(source, capability, tuple(options.items()))
            for source in sorted(set(SOURCES.values()))
        }
        libraries = {source: Library(code.result(), index) for source, code in codes.items()}
        self._kernels = {
            name: Kernel(libraries[source], name, LAYOUTS[name], THREADS) for name, source in SOURCES.items()
        }
        self._shared = {
            "drive_forward": self.sizes.drive_bytes,
            "mesh_forward": 0,
            "head_forward": self.sizes.forward_bytes,
            "head_backward": self.sizes.backward_bytes,
            "drive_backward": self.sizes.drive_backward_bytes,
            "confine": 0,
        }
        for name, size in self._shared.items():
            self._kernels[name].allow_shared(size)
        self._index = index

    def launch(self, name: str, blocks: int, arguments: tuple[int | float, ...]) -> None:
        """Launch one on PyTorch's current stream."""
        stream = current_stream(self._index)
        self._kernels[name].launch((blocks, 1), stream, arguments, self._shared[name])


def compile_ahead(head: nn.Module) -> None:
    """Begin to compile all kernels that a training of `head` needs, beside whatever else is to be done."""
    if not applies(head):
        return
    index = head.gaussians.xyz.get_device()
    capability = torch.cuda.get_device_capability(index)
    for deforms in (head.deforms, not head.deforms):
        options = tuple(_options(head, deforms).items())
        for source in sorted(set(SOURCES.values())):
            _code(source, capability, options)


def kernels_for(head: nn.Module) -> Kernels:
    """The kernels for a head, compiled at their first use."""
    return _kernels(head.gaussians.xyz.get_device(), tuple(_options(head, head.deforms).items()))


def _options(head: nn.Module, deforms: bool) -> dict[str, int | str]:
    limit = _shared_limit(head.gaussians.xyz.get_device())
    for tile in TILES:
        options = layout.options_of(head, deforms, tile, THREADS)
        if BLOCKS_PER_PROCESSOR * Sizes(options).backward_bytes <= limit:
            break
    return options


@functools.cache
def _kernels(index: int, options: tuple[tuple[str, int | str], ...]) -> Kernels:
    return Kernels(index, dict(options))


_codes: dict[tuple, Future[bytes]] = {}
_lock = threading.Lock()


def _code(
    source: str, capability: tuple[int, int], options: tuple[tuple[str, int | str], ...]
) -> Future[bytes]:
    """The machine code of a source, which threads compile side by side."""
    key = source, capability, options
    with _lock:
        if key not in _codes:
            _codes[key] = _compilers().submit(
                compiler.machine_code, KERNELS / source, capability, dict(options)
            )
        return _codes[key]


@functools.cache
def _compilers() -> ThreadPoolExecutor:
    # Threads that import one package at the same time find half of it.
    compiler.load()
    return ThreadPoolExecutor(2 * len(set(SOURCES.values())), thread_name_prefix="compiler")


@functools.cache
def _shared_limit(index: int) -> int:
    return torch.cuda.get_device_properties(index).shared_memory_per_multiprocessor


class Buffers(NamedTuple):
    """What the kernels hand to each other; backward reads it again."""

    drives: Tensor  # [V, DRIVE_SIZE]
    weights: Tensor  # packed
    planes: Tensor  # [3, R, R, C]
    vertices: Tensor  # [V, M, 3]


class Call:
    """One evaluation of a head: arguments for the kernels, in the order of their structs. Works on whatever
    memory the launcher reads; the tests have one that runs on the host."""

    def __init__(self, head: nn.Module, drives: tuple[Drive, ...], kernels) -> None:
        self.head, self.drives, self.kernels = head, drives, kernels
        self.num, self.num_views = len(head.gaussians), len(drives)
        self.num_vertices = len(head.scaffold.neutral)

    def forward(self, parameters: Sequence[Tensor]) -> tuple[Buffers, tuple[Tensor, ...]]:
        """Splats [V, N, ...] and what backward needs."""
        head, sizes, views = self.head, self.kernels.sizes, self.num_views
        make = parameters[0].new_empty
        buffers = Buffers(
            make(views, sizes.drive),
            make(sizes.weights),
            make(sizes.planes),
            make(views, self.num_vertices, 3),
        )
        torso = (head.torso_map, head.known_poses) if head.architecture.torso_prediction else (None, None)
        known = (head.known_signals, head.mean_pose, *torso, head.scaffold.ball_turns)
        parts = [layout.views_of(self.drives, name) for name in Drive._fields]
        self.kernels.launch(
            "drive_forward",
            views + PACKING_BLOCKS,
            (
                *addresses(parameters[len(GAUSSIANS) :]),
                *addresses(known),
                *(address for part in parts for address in part),
                *addresses(buffers[:3]),
                views,
            ),
        )
        scaffold = head.scaffold
        self.kernels.launch(
            "mesh_forward",
            -(-3 * self.num_vertices // THREADS),
            (
                *addresses((scaffold.neutral, scaffold.shapes)),
                *parts[0],
                *addresses((buffers.drives, scaffold.ball_centers, scaffold.ball_ends, buffers.vertices)),
                *(self.num_vertices, views),
            ),
        )
        out = tuple(make(views, self.num, *shape) for shape in ((3,), (), (3,), (4,), (3,)))
        blocks = -(-self.num // self.kernels.tile)
        self.kernels.launch("head_forward", blocks, (*self._shared(parameters, buffers), *addresses(out)))
        return buffers, out

    def backward(
        self, parameters: Sequence[Tensor], buffers: Buffers, grad_splats: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Gradients of all parameters."""
        sizes, views, deforms = self.kernels.sizes, self.num_views, self.head.deforms
        sums = parameters[0].new_zeros(views * sizes.drive + sizes.weights + sizes.planes)
        grad_drives, grad_weights, grad_planes = sums.split(
            [views * sizes.drive, sizes.weights, sizes.planes]
        )
        split = len(GAUSSIANS)
        grads = [torch.empty_like(parameter) for parameter in parameters]
        blocks = min(-(-self.num // self.kernels.tile), BLOCKS_PER_PROCESSOR * self.kernels.num_processors)
        self.kernels.launch(
            "head_backward",
            blocks,
            (
                *self._shared(parameters, buffers),
                *addresses([grad.contiguous() for grad in grad_splats]),
                *addresses(grads[:split]),
                *addresses((grad_drives, grad_weights, grad_planes)),
            ),
        )
        self.kernels.launch(
            "drive_backward",
            1 + PACKING_BLOCKS,
            (
                *addresses(parameters[split:]),
                *addresses(grads[split:]),
                *addresses((buffers.drives, grad_drives, grad_weights, grad_planes)),
                views,
            ),
        )
        if deforms:
            return grads
        of_drive = {split + 2 * i + j for i in range(14) for j in range(2) if layout.is_of_drive(i)}
        of_drive.add(GAUSSIANS.index("blendshapes"))
        return [None if i in of_drive else grad for i, grad in enumerate(grads)]

    def _shared(self, parameters: Sequence[Tensor], buffers: Buffers) -> tuple[int | float, ...]:
        """The struct Head."""
        head = self.head
        gaussians = head.gaussians
        return (
            *addresses(parameters[: len(GAUSSIANS)]),
            *addresses((gaussians.triangle, gaussians.barycentric)),
            *addresses(layout.mesh_of(head)),
            *addresses((buffers.vertices, buffers.drives, buffers.weights, buffers.planes)),
            1 / head.triplane.half_width,
            *(self.num, self.num_views, self.num_vertices),
        )


class _Driven(torch.autograd.Function):
    @staticmethod
    def forward(ctx, call: Call, *parameters: Tensor) -> tuple[Tensor, ...]:
        buffers, out = call.forward(parameters)
        ctx.call = call
        ctx.save_for_backward(*parameters, *buffers)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_splats: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        num = len(saved) - len(Buffers._fields)
        grads = ctx.call.backward(saved[:num], Buffers(*saved[num:]), grad_splats)
        return None, *grads
