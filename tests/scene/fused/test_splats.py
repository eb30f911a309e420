"""The kernels of a head against its modules: values and gradients, in double precision on the host."""

import copy
import math
import re

import pytest
import torch

from diff_gaussian_rasterization import Splats
from diff_gaussian_rasterization.cuda import compiler
from scene import fused
from scene.fused import layout
from scene.fused.splats import KERNELS, THREADS, TILES, Call, confine_by
from scene.head_model import LARGEST_ON_SCAFFOLD, SMALLEST_UNSEEN, SURFACE_PULL
from scene.views import Drive
from tests.scene.fused.host import HostKernels
from tests.scene.heads import EXPRESSION_SIZE, make_head
from utils.rotations import rigid_motion

PARTS = ("means", "opacities", "scales", "rotations", "sh")


def make_scaffold_head(num_gaussians: int = 27, **changes):
    """A head on a scaffold of a kind that the kernels take, in double precision; all its parts matter."""
    sizes = dict(
        scaffold=True,
        sh_degree=0,
        triplane_channels=16,
        geometry_features=8,
        decoder_width=16,
        num_blendshapes=3,
        pose_conditioning=True,
        torso_tracking=True,
        torso_prediction=True,
        expression_gain=2.0,
    )
    head = make_head(num_gaussians, **{**sizes, **changes})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name not in ("gaussians.tau", "gaussians.xyz"):
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        head.gaussians.blendshapes.add_(torch.randn(head.gaussians.blendshapes.shape, generator=generator))
        head.known_signals.copy_(torch.tensor([[-1.0], [1.2]]).expand_as(head.known_signals))
        if head.architecture.torso_prediction:
            head.torso_map.copy_(0.3 * torch.randn(7, 6, generator=generator))
            head.known_poses.copy_(torch.tensor([[-0.1], [0.1]]).expand(2, 6))
    # Beyond the clip: what is clamped there has no gradient, what is within it has.
    return head.double()


def some_drives(head) -> list[Drive]:
    """As a training step has them: with everything; as a side view is; with a pose alone."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    noise = 0.1 * random(head.known_signals.shape[1])
    return [
        Drive(
            0.4 * random(EXPRESSION_SIZE), rigid_motion(0.1 * random(6)), rigid_motion(0.1 * random(6)), noise
        ),
        Drive(0.4 * random(EXPRESSION_SIZE)),
        Drive(0.4 * random(EXPRESSION_SIZE), rigid_motion(0.2 * random(6))),
    ]


def by_modules(head, drives, camera) -> Splats:
    """What the modules make of the drives, [V, N, ...]."""
    splats = [head(camera, drive) for drive in drives]
    return Splats(*(None if part[0] is None else torch.stack(part) for part in zip(*splats)))


KINDS = {
    "everything": {},
    "in warm-up": dict(deforms=False),
    "a head alone": dict(torso_membership=False, torso_tracking=False, torso_prediction=False),
    "without poses": dict(pose_conditioning=False, torso_prediction=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_compute_what_the_modules_do(tmp_path, camera, kind):
    changes = dict(KINDS[kind])
    deforms = changes.pop("deforms", True)
    head = make_scaffold_head(**changes)
    head.deforms = deforms
    drives = some_drives(head)
    expected = by_modules(head, drives, camera)
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(getattr(expected, n).shape, generator=generator).double() for n in PARTS]
    sum((getattr(expected, n) * w).sum() for n, w in zip(PARTS, weights)).backward()

    parameters = [p.detach() for p in layout.parameters_of(head)]
    assert len({p.data_ptr() for p in parameters if p.numel()}) == sum(
        1 for p in head.parameters() if p.numel()
    )
    call = Call(head, tuple(drives), HostKernels(head, tmp_path))
    buffers, out = call.forward(parameters)
    for name, value in zip(PARTS, out):
        torch.testing.assert_close(
            value.view_as(getattr(expected, name)), getattr(expected, name), atol=2e-7, rtol=2e-6
        )

    weights[-1] = weights[-1][:, :, 0]
    grads = call.backward(parameters, buffers, weights)
    names = {p.data_ptr(): name for name, p in head.named_parameters()}
    for parameter, grad, own in zip(parameters, grads, layout.parameters_of(head)):
        if own.grad is None:
            assert grad is None or not parameter.numel(), names[parameter.data_ptr()]
            continue
        scale = float(own.grad.abs().max())
        assert scale > 0 or not parameter.numel()
        name = names[parameter.data_ptr()]
        torch.testing.assert_close(
            grad, own.grad, atol=1e-6 * scale, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_kernel_confines_as_the_head_does(tmp_path):
    head = make_scaffold_head()
    with torch.no_grad():
        head.gaussians.xyz.add_(0.05 * torch.randn(head.gaussians.xyz.shape).double())
        head.gaussians.log_scale.add_(torch.randn(head.gaussians.log_scale.shape).double())
    other = copy.deepcopy(head)
    largest = math.log(head.architecture.half_side * LARGEST_ON_SCAFFOLD)
    confine_by(HostKernels(other, tmp_path), other, SURFACE_PULL, largest, SMALLEST_UNSEEN)
    before = head.gaussians.xyz.detach().clone()
    head.confine_()
    assert (head.gaussians.xyz - before).abs().max() > 0.01
    for name in ("xyz", "log_scale"):
        torch.testing.assert_close(
            getattr(other.gaussians, name), getattr(head.gaussians, name), rtol=1e-6, atol=1e-7
        )


# Of preset `best`.
SIZES = dict(
    triplane_resolution=64,
    triplane_channels=32,
    decoder_width=64,
    geometry_features=32,
    num_blendshapes=8,
    expression_gain=4.0,
)


@pytest.mark.gpu
@pytest.mark.parametrize("deforms", [True, False])
@pytest.mark.parametrize("sizes", [{}, SIZES], ids=["small", "best"])
def test_on_the_gpu_kernels_agree_with_the_modules(camera, sizes, deforms):
    head = make_scaffold_head(3001, **sizes).float().cuda()
    head.deforms = deforms
    drives = [Drive(*(None if t is None else t.float().cuda() for t in drive)) for drive in some_drives(head)]
    cameras = [camera.to("cuda")] * len(drives)
    generator = torch.Generator("cuda").manual_seed(3)
    results = []
    for uses_kernels in (False, True):
        head.uses_kernels = uses_kernels
        assert fused.applies(head, drives) == uses_kernels
        splats = head.views(cameras, drives)
        generator.manual_seed(3)
        parts = [getattr(splats, name) for name in PARTS]
        sum((p * torch.randn(p.shape, generator=generator, device="cuda")).sum() for p in parts).backward()
        results.append(([p.detach() for p in parts], {n: p.grad for n, p in head.named_parameters()}))
        head.zero_grad(set_to_none=True)
    for name, value, expected in zip(PARTS, results[1][0], results[0][0]):
        # Encodings multiply the rounding of a place by 512.
        assert (value - expected).norm() < 1e-4 * expected.norm(), name
    for name, expected in results[0][1].items():
        grad = results[1][1][name]
        if expected is None:
            assert grad is None, name
        elif expected.numel():
            # A ReLU, or a texel, that rounding puts on the other side moves single entries.
            error = (grad - expected).norm() / expected.norm()
            assert error < 2e-3, (name, float(error))


@pytest.mark.gpu
def test_on_the_gpu_one_drive_confinement_and_gradients_of_drives():
    head = make_scaffold_head(501, **SIZES).float().cuda()
    drive = some_drives(head)[0].expression.float().cuda()
    camera = None
    with torch.no_grad():
        by_kernels = head(camera, drive)
    assert by_kernels.means.shape == (501, 3) and by_kernels.sh.shape == (501, 1, 3)
    # Whoever fits an expression needs the modules' gradient.
    assert not fused.applies(head, [Drive(drive.clone().requires_grad_())])
    other = copy.deepcopy(head)
    other.uses_kernels = False
    head.confine_(), other.confine_()
    torch.testing.assert_close(head.gaussians.xyz, other.gaussians.xyz, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.gaussians.log_scale, other.gaussians.log_scale, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not compiler.is_installed(), reason="needs cuda-core and NVRTC")
@pytest.mark.parametrize("deforms", [True, False])
def test_nvrtc_compiles_the_kernels_without_spilling(deforms):
    head = make_scaffold_head(**SIZES)
    options = layout.options_of(head, deforms, TILES[0], THREADS)
    for source in sorted(set(layout.SOURCES.values())):
        code, report = compiler.compile_source(KERNELS / source, (9, 0), options)
        assert code
        spilled = re.findall(r"(\d+) bytes spill stores", report)
        assert spilled and set(spilled) == {"0"}, (source, report)
