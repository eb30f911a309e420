import torch
from scipy.spatial.transform import Rotation

from scene.derivation import derive, initial_tau


def test_derive_rotates_as_scipy_does():
    generator = torch.Generator().manual_seed(1)
    tau = torch.randn(6, 4, 4, generator=generator, dtype=torch.float64)
    tau = torch.nn.functional.normalize(tau, dim=-1)
    xyz = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    derived = derive(xyz, tau)  # [6, 4, 3]
    for n in range(6):
        for k in range(4):
            # scipy has the real part last.
            rotation = Rotation.from_quat(tau[n, k].numpy()[[1, 2, 3, 0]])
            torch.testing.assert_close(derived[n, k], torch.from_numpy(rotation.apply(xyz[n].numpy())))


def test_derive_keeps_the_distance_to_the_origin():
    tau = initial_tau(50, 4, torch.Generator().manual_seed(0))
    xyz = torch.randn(50, 3)
    torch.testing.assert_close(derive(xyz, tau).norm(dim=-1), xyz.norm(dim=-1)[:, None].expand(-1, 4))


def test_initial_tau_is_shared_by_all_gaussians_and_differs_between_derivations():
    tau = initial_tau(10, 4, torch.Generator().manual_seed(3))
    assert (tau == tau[:1]).all()
    torch.testing.assert_close(tau.norm(dim=-1), torch.ones(10, 4))
    distances = torch.cdist(tau[0], tau[0]) + torch.eye(4)
    assert distances.min() > 1e-2


def test_derive_gradients_pass_gradcheck():
    tau = initial_tau(3, 2, torch.Generator().manual_seed(0)).double().requires_grad_()
    xyz = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(derive, (xyz, tau))
