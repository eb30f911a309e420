"""The fused SSIM against utils.metrics.ssim in float64, and that its kernels compile."""

import pytest
import torch

from diff_gaussian_rasterization.cuda import compiler
from diff_gaussian_rasterization.cuda.ssim import TILE, ssim
from tests.rasterizer.scenes import relative_error
from utils.metrics import ssim as plain_ssim

SHAPES = [
    (3, 512, 512),
    (3, 37, 53),
    (3, 1, 1),
    (3, 5, 200),
    (1, 200, 5),
    # One tile exactly.
    (3, 16, 32),
    (2, 3, 40, 33),
    (2, 2, 3, 17, 70),
]


def noise(shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [*torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))]


def before_white(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """A smooth disk before a white wall, and nearly the same: where variances are small differences."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in shape[-2:]), indexing="ij")
    disk = ((x.square() + y.square()) < 0.5).float()
    truth = (1 - disk * (0.5 + 0.3 * torch.sin(5 * x) * y)).expand(shape).contiguous()
    return [truth + 0.02 * disk * noise(shape)[0], truth]


def value_and_gradients(function, image, truth, needs=(True, True)):
    """The value of each image, and the gradients of their sum in fixed weights."""
    leaves = [t.detach().requires_grad_(need) for t, need in zip((image, truth), needs)]
    value = function(*leaves)
    weights = torch.linspace(0.5, 1.5, value.numel()).view(value.shape).to(value)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return value.detach(), torch.autograd.grad((value * weights).sum(), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("images", [noise, before_white])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fused_ssim_equals_the_plain_one(shape, images):
    image, truth = images(shape)
    value, gradients = value_and_gradients(ssim, image.cuda(), truth.cuda())
    true_value, true_gradients = value_and_gradients(plain_ssim, image.double(), truth.double())
    assert value.shape == shape[:-3] and value.dtype == torch.float32
    assert relative_error(value.cpu(), true_value) < 1e-5
    if torch.equal(image, truth):
        # One pixel of the wall: the gradient is zero but for rounding.
        return
    for gradient, true_gradient in zip(gradients, true_gradients):
        assert gradient.shape == shape
        # Float32 variances: 1e-5 in flat parts.
        assert relative_error(gradient.cpu(), true_gradient) < 1e-4


@pytest.mark.gpu
def test_equal_images_have_ssim_one_and_no_gradient():
    image = before_white((3, 64, 64))[0].cuda()
    value, gradients = value_and_gradients(ssim, image, image.clone())
    assert value.item() == pytest.approx(1, abs=1e-6)
    # Of 1 / 12,288 a pixel.
    assert max(gradient.abs().max() for gradient in gradients) < 1e-7


@pytest.mark.gpu
def test_each_gradient_alone_is_the_same_bit_for_bit():
    image, truth = (t.cuda() for t in noise((2, 3, 70, 90)))
    value, gradients = value_and_gradients(ssim, image, truth)
    for needs, gradient in zip([(True, False), (False, True)], gradients):
        for _ in range(3):
            again, (alone,) = value_and_gradients(ssim, image, truth, needs)
            assert torch.equal(again, value) and torch.equal(alone, gradient)
    assert torch.equal(ssim(image, truth), value)


@pytest.mark.gpu
def test_strided_images_are_read_as_they_are():
    image, truth = (t.cuda() for t in noise((3, 40, 50)))
    value, gradients = value_and_gradients(ssim, image, truth)
    strided = [t.permute(1, 2, 0).contiguous().permute(2, 0, 1) for t in (image, truth)]
    again, strided_gradients = value_and_gradients(ssim, *strided)
    assert torch.equal(again, value)
    assert all(torch.equal(a, b) for a, b in zip(strided_gradients, gradients))


@pytest.mark.gpu
def test_no_images_have_no_values():
    value, gradients = value_and_gradients(ssim, *torch.rand(2, 0, 3, 8, 8, device="cuda"))
    assert value.shape == (0,) and gradients[0].shape == (0, 3, 8, 8)


@pytest.mark.gpu
def test_cuda_graph_computes_what_eager_computes():
    image, truth = (t.cuda() for t in noise((3, 100, 120)))
    leaf = image.clone().requires_grad_()

    def step():
        value = ssim(leaf, truth)
        return value, *torch.autograd.grad(value, leaf)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        leaf.mul_(0.5).add_(0.2)
    graph.replay()
    graph.replay()
    assert all(torch.equal(value, truth) for value, truth in zip(captured, step()))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "image, truth, message",
    [
        (torch.zeros(3, 4, 4).double(), torch.zeros(3, 4, 4), "image: expected float32"),
        (torch.zeros(3, 4, 4), torch.zeros(3, 4, 5), r"truth: expected \[3, 4, 4\]"),
        (torch.zeros(4, 4), torch.zeros(4, 4), "image: expected"),
        (torch.zeros(3, 0, 4), torch.zeros(3, 0, 4), "image: expected"),
    ],
)
def test_wrong_images_are_named(image, truth, message):
    with pytest.raises(ValueError, match=message):
        ssim(image.cuda(), truth.cuda())


def test_images_on_the_cpu_are_refused():
    with pytest.raises(ValueError, match="image: expected float32 on a CUDA device"):
        ssim(*noise((3, 4, 4)))


@pytest.mark.parametrize("capability", [(7, 5), (9, 0)], ids=str)
def test_ssim_kernels_compile_without_spills(capability):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    code, report = compiler.compile_source("ssim.cu", capability, TILE)
    assert code.startswith(b"\x7fELF")
    assert report.count("0 bytes spill stores, 0 bytes spill loads") == 3, report
