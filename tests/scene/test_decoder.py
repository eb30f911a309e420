import numpy as np
import pytest
import torch

from scene.decoder import HierarchicalDecoder


def make_decoder(sh_degree: int = 3) -> HierarchicalDecoder:
    torch.manual_seed(0)
    return HierarchicalDecoder(num_channels=8, width=16, num_geometry=5, sh_degree=sh_degree)


def unit(n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 3), dim=1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_decoding_is_that_of_two_networks_written_out_in_numpy(degree):
    decoder, features, directions = make_decoder(degree), torch.randn(4, 8), unit(4)
    if degree:
        torch.nn.init.normal_(decoder.sh_rest_head.weight)
        torch.nn.init.normal_(decoder.sh_rest_head.bias)
    weights = {name: value.double().numpy() for name, value in decoder.state_dict().items()}

    def layer(name, values):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    logit, geometry = np.split(
        layer("geometry_head", layer("geometry", features.double().numpy()).clip(0)), [1], axis=1
    )
    hidden = layer("color", np.concatenate([geometry, directions.double().numpy()], axis=1)).clip(0)
    heads = ["sh_dc_head", "sh_rest_head"] if degree else ["sh_dc_head"]
    sh = np.concatenate([layer(head, hidden) for head in heads], axis=1).reshape(4, (degree + 1) ** 2, 3)
    decoded = decoder(features, directions, degree)
    np.testing.assert_allclose(decoded.opacity_logit.detach(), logit[:, 0], atol=1e-6)
    np.testing.assert_allclose(decoded.sh.detach(), sh, atol=1e-5)


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
    # A fresh tri-plane gives about 0.3^3.
    features = 0.027 + 0.01 * torch.randn(100, 32)
    opacity = torch.sigmoid(decoder(features, unit(100), 3).opacity_logit)
    assert (opacity - 0.1).abs().max() < 0.05
