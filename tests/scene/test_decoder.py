import pytest
import torch

from scene.decoder import HierarchicalDecoder


def make_decoder(sh_degree: int = 3) -> HierarchicalDecoder:
    torch.manual_seed(0)
    return HierarchicalDecoder(num_channels=8, width=16, num_geometry=5, sh_degree=sh_degree)


def unit(n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 3), dim=1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_sizes_follow_the_sh_degree(degree):
    decoded = make_decoder(degree)(torch.randn(4, 8), unit(4), degree)
    assert decoded.sh.shape == (4, (degree + 1) ** 2, 3)
    assert decoded.opacity_logit.shape == (4,)


def test_active_degree_takes_the_first_bases_of_the_full_one():
    decoder, features, directions = make_decoder(), torch.randn(4, 8), unit(4)
    torch.nn.init.normal_(decoder.sh_rest_head.weight)
    full = decoder(features, directions, 3).sh
    for degree in range(3):
        partial = decoder(features, directions, degree).sh
        torch.testing.assert_close(partial, full[:, : (degree + 1) ** 2])


def test_a_degree_that_comes_in_changes_no_colour_at_once():
    decoder, features, directions = make_decoder(), torch.randn(4, 8), unit(4)
    rest = decoder(features, directions, 3).sh[:, 1:]
    assert (rest == 0).all()
    rest.sum().backward()
    assert (decoder.sh_rest_head.weight.grad != 0).any()


def test_opacity_does_not_depend_on_the_view_but_colour_does():
    decoder, features = make_decoder(), torch.randn(6, 8)
    first, second = (decoder(features, unit(6), 3) for _ in range(2))
    assert torch.equal(first.opacity_logit, second.opacity_logit)
    assert not torch.allclose(first.sh, second.sh)


def test_colour_is_not_linear_in_the_view_direction():
    decoder, features = make_decoder(), torch.randn(64, 8)
    directions = unit(64)
    sh = [decoder(features, sign * directions, 0).sh for sign in (-1, 0, 1)]
    assert (sh[0] + sh[2] - 2 * sh[1]).abs().max() > 1e-4


def test_initial_opacity_is_a_tenth():
    torch.manual_seed(0)
    decoder = HierarchicalDecoder()
    features = 0.027 + 0.01 * torch.randn(100, 32)  # what a fresh tri-plane gives: 0.3^3
    opacity = torch.sigmoid(decoder(features, unit(100), 3).opacity_logit)
    assert (opacity - 0.1).abs().max() < 0.05
