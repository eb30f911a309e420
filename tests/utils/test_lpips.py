import pytest
import torch
import torch.nn.functional as F

from tests.vgg16 import vgg16_features
from utils.errors import UserError
from utils.lpips import CHANNELS, Lpips

# relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 in torchvision's `features`.
ENDS = (3, 8, 15, 22, 29)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return vgg16_features().requires_grad_(False)


@pytest.fixture(scope="module")
def heads():
    generator = torch.Generator().manual_seed(1)
    shapes = {f"lin{i}.model.1.weight": (1, channels, 1, 1) for i, channels in enumerate(CHANNELS)}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def files(network, heads, tmp_path_factory):
    """The two files in the official layouts, with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    state = {f"features.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, folder / "vgg16.pth")
    torch.save(heads, folder / "vgg.pth")
    return folder / "vgg16.pth", folder / "vgg.pth"


def _slow_lpips(image, truth, network, heads):
    """Section 3.1 of Zhang et al. 2018 in float64, pixel by pixel normalisation by F.normalize."""
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64)[:, None, None]
    a, b = (((2 * x.double() - 1) - shift) / scale for x in (image[None], truth[None]))
    distance, lins = 0.0, iter(heads.values())
    for index, layer in enumerate(network.double()):
        a, b = layer(a), layer(b)
        if index in ENDS:
            difference = F.normalize(a, dim=1, eps=1e-10) - F.normalize(b, dim=1, eps=1e-10)
            distance += F.conv2d(difference**2, next(lins).double()).mean().item()
    network.float()
    return distance


def test_distance_is_that_of_the_formula(files, network, heads):
    image, truth = torch.rand(2, 3, 37, 48, generator=torch.Generator().manual_seed(2))
    expected = _slow_lpips(image, truth, network, heads)
    assert expected > 1e-3
    # float32 through 13 layers
    assert Lpips(*files)(image, truth).item() == pytest.approx(expected, rel=1e-3)


def test_equal_images_are_at_distance_zero_and_the_order_does_not_matter(files):
    lpips = Lpips(*files)
    image, truth = torch.rand(2, 3, 16, 16)
    assert lpips(image, image) == 0
    assert lpips(image, truth).item() == pytest.approx(lpips(truth, image).item(), rel=1e-5)
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_images_that_do_not_fit_are_refused(files):
    lpips = Lpips(*files)
    for shape in ((3, 15, 40), (1, 32, 32)):
        with pytest.raises(ValueError, match=r"expected the same shape \[3, H, W\]"):
            lpips(torch.zeros(shape), torch.zeros(shape))


def test_wrong_files_are_named_in_one_line(files, heads, tmp_path):
    vgg, official = files
    with pytest.raises(UserError, match=r"--lpips_weights .*absent.pth: no such file"):
        Lpips(vgg, tmp_path / "absent.pth")
    with pytest.raises(UserError, match=r"--lpips_weights .*lin0\.model\.1\.weight: expected shape"):
        Lpips(vgg, vgg)
    with pytest.raises(UserError, match=r"--vgg_weights .*features\.0\.weight: expected shape"):
        Lpips(official, official)
    alex = heads | {"lin1.model.1.weight": torch.zeros(1, 192, 1, 1)}
    torch.save(alex, tmp_path / "alex.pth")
    with pytest.raises(
        UserError, match=r"expected shape \[1, 128, 1, 1\], found \[1, 192, 1, 1\]; is it vgg"
    ):
        Lpips(vgg, tmp_path / "alex.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match="not a readable weights file"):
        Lpips(vgg, tmp_path / "text.pth")
