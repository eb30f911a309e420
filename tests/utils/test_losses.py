import pytest
import torch
import torch.nn.functional as F

from tests.vgg16 import vgg16_features
from utils.errors import UserError
from utils.losses import VggPerceptual, l1_loss

ENDS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A plain sequential network with random weights, and its file in the official layout."""
    torch.manual_seed(0)
    network = vgg16_features()
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = {f"features.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, path)
    return network, path


def test_l1_loss_vanishes_for_equal_images_only():
    truth = torch.rand(3, 16, 16)
    assert l1_loss(truth, truth) == 0
    assert l1_loss(truth + 0.25, truth).item() == pytest.approx(0.25)


def test_perceptual_distance_is_that_of_the_sequential_network(vgg):
    network, path = vgg
    image, truth = torch.rand(2, 3, 24, 17)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    a, b = ((x - mean[:, None, None]) / std[:, None, None] for x in (image[None], truth[None]))
    expected = 0.0
    with torch.no_grad():
        for index, layer in enumerate(network[: max(ENDS.values()) + 1]):
            a, b = layer(a), layer(b)
            if index in ENDS.values():
                expected += F.l1_loss(a, b).item()
    assert VggPerceptual(path)(image, truth).item() == pytest.approx(expected, rel=1e-4)


def test_perceptual_gradient_reaches_the_image_and_not_the_weights(vgg):
    perceptual = VggPerceptual(vgg[1])
    image, truth = torch.rand(3, 8, 8, requires_grad=True), torch.rand(3, 8, 8, requires_grad=True)
    perceptual(image, truth).backward()
    assert image.grad is not None and truth.grad is None
    assert all(not parameter.requires_grad for parameter in perceptual.parameters())
    assert perceptual(image, image).item() == 0


def test_perceptual_gradient_agrees_with_central_differences(vgg):
    perceptual = VggPerceptual(vgg[1]).double()
    image, truth, direction = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(3)).double()
    (gradient,) = torch.autograd.grad(perceptual(image.requires_grad_(), truth), image)
    with torch.no_grad():
        ahead, behind = (perceptual(image + step * direction, truth) for step in (1e-6, -1e-6))
    slope = ((ahead - behind) / 2e-6).item()
    # The distance has kinks (ReLU, pooling, absolute value); one that lies within the step costs little.
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4)


def test_unusable_weights_are_named_in_one_line(vgg, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        VggPerceptual(tmp_path / "absent.pth")
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(vgg[1].read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable weights file"):
        VggPerceptual(truncated)
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, other)
    with pytest.raises(
        UserError, match=r"features\.0\.weight: expected shape \[64, 3, 3, 3\], found \[64, 1, 3, 3\]"
    ):
        VggPerceptual(other)
