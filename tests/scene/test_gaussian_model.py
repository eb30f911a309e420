import pytest
import torch
from scipy.spatial import KDTree

from arguments import NetworkParams
from scene.gaussian_model import GaussianModel
from tests.scene.heads import make_head

LEARNED = ("xyz", "log_scale", "rotation", "tau", "opacity_offset", "blendshapes", "torso_logit", "color")


def test_starts_uniform_in_the_cube_as_wide_as_the_neighbours_are_far():
    gaussians = GaussianModel.in_cube(2_000, 0.6, NetworkParams(), torch.Generator().manual_seed(0))
    xyz = gaussians.xyz.detach()
    assert xyz.abs().max() <= 0.6 and xyz.abs().max() > 0.59
    assert xyz.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(xyz.std(dim=0), torch.full((3,), 1.2 / 12**0.5), rtol=0.05, atol=0)
    distances = torch.from_numpy(KDTree(xyz.double().numpy()).query(xyz.double().numpy(), k=4)[0][:, 1:])
    expected = distances.square().mean(dim=1).sqrt().float()[:, None].expand(-1, 3)
    torch.testing.assert_close(gaussians.log_scale.detach().exp(), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("num_gaussians", [1, 2, 3])
def test_a_handful_of_gaussians_has_finite_scales(num_gaussians):
    gaussians = GaussianModel.in_cube(num_gaussians, 1.0, NetworkParams(), torch.Generator().manual_seed(0))
    assert gaussians.log_scale.isfinite().all()


def test_gather_takes_rows_of_every_tensor():
    gaussians = make_head(7, scaffold=True).gaussians
    rows = torch.tensor([6, 0, 0])
    gathered = gaussians.gather_rows(rows)
    assert dict(gaussians.named_parameters()).keys() == set(LEARNED)
    assert gathered.keys() == {*LEARNED, "triangle", "barycentric"} == gaussians.state_dict().keys()
    for name, value in gathered.items():
        assert torch.equal(value, getattr(gaussians, name).detach()[rows])


def test_replace_refuses_to_forget_a_tensor():
    gaussians = make_head(3).gaussians
    tensors = gaussians.gather_rows(torch.tensor([0]))
    del tensors["tau"]
    with pytest.raises(AssertionError, match="every per-Gaussian tensor"):
        gaussians.replace_(tensors)


def test_tau_stays_a_point_on_the_sphere_when_replaced():
    gaussians = make_head(3).gaussians
    gaussians.replace_(gaussians.gather_rows(torch.tensor([2, 1])))
    assert isinstance(gaussians.tau, torch.nn.Parameter)
    assert len(gaussians) == 2
