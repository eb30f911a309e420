"""The canonical Gaussians: every tensor that has one row per Gaussian lives here, and nowhere else.

Raw values; what the renderer sees is activated in `head_model.py`. `gather_rows` is the one way in which the
number of Gaussians changes, so that parameters, optimizer moments and statistics can never fall out of step.
"""

import geoopt
import torch
from torch import Tensor, nn

from scene.blendshapes import OFFSET_SIZE
from scene.derivation import initial_tau
from scene.torso import initial_membership
from simple_knn._C import distCUDA2


class GaussianModel(nn.Module):
    """N Gaussians: `xyz` [N, 3], `log_scale` [N, 3], `rotation` [N, 4] (wxyz, not normalised), `tau` [N, K,
    4] on (S^3)^K, `opacity_offset` [N] (added to the decoded opacity logit), `blendshapes` [N, B, 14] (B may
    be 0), `torso_logit` [N, 1] (how far it belongs to the torso; [N, 0] without)."""

    def __init__(
        self,
        xyz: Tensor,
        log_scale: Tensor,
        rotation: Tensor,
        tau: Tensor,
        opacity_offset: Tensor,
        blendshapes: Tensor,
        torso_logit: Tensor,
    ) -> None:
        super().__init__()
        self.xyz = nn.Parameter(xyz)
        self.log_scale = nn.Parameter(log_scale)
        self.rotation = nn.Parameter(rotation)
        self.tau = geoopt.ManifoldParameter(tau, manifold=geoopt.Sphere())
        self.opacity_offset = nn.Parameter(opacity_offset)
        self.blendshapes = nn.Parameter(blendshapes)
        self.torso_logit = nn.Parameter(torso_logit)

    def __len__(self) -> int:
        return self.xyz.shape[0]

    @classmethod
    def empty(
        cls, num_gaussians: int, num_derivations: int, num_blendshapes: int = 0, has_torso: bool = False
    ) -> "GaussianModel":
        """Uninitialised rows of the right shapes, to load a state dict into."""
        shapes = ((3,), (3,), (4,), (num_derivations, 4), (), (num_blendshapes, OFFSET_SIZE), (has_torso,))
        return cls(*(torch.zeros(num_gaussians, *shape) for shape in shapes))

    @classmethod
    def in_cube(
        cls,
        num_gaussians: int,
        num_derivations: int,
        half_side: float,
        generator: torch.Generator | None = None,
        num_blendshapes: int = 0,
        has_torso: bool = False,
    ) -> "GaussianModel":
        """Points uniform in the cube [-half_side, half_side]^3; isotropic scales from the 3 nearest
        neighbours."""
        xyz = half_side * (2 * torch.rand(num_gaussians, 3, generator=generator) - 1)
        return cls.from_points(xyz, num_derivations, generator, num_blendshapes, has_torso)

    @classmethod
    def from_points(
        cls,
        xyz: Tensor,
        num_derivations: int,
        generator: torch.Generator | None = None,
        num_blendshapes: int = 0,
        has_torso: bool = False,
    ) -> "GaussianModel":
        """Gaussians at given places [N, 3], as wide as the RMS distance to the 3 nearest neighbours."""
        squared_distance = distCUDA2(xyz).clamp_min(1e-10)  # [N]
        log_scale = 0.5 * squared_distance.log()[:, None].expand(-1, 3).clone()
        rotation = torch.zeros(len(xyz), 4)
        rotation[:, 0] = 1
        tau = initial_tau(len(xyz), num_derivations, generator)
        # Not zero: with zero bases the blend weights would get no gradient.
        blendshapes = 1e-3 * torch.randn(len(xyz), num_blendshapes, OFFSET_SIZE, generator=generator)
        torso_logit = initial_membership(xyz) if has_torso else xyz.new_zeros(len(xyz), 0)
        return cls(xyz, log_scale, rotation, tau, torch.zeros(len(xyz)), blendshapes, torso_logit)

    def flatten_tau_(self) -> None:
        """Let tau live in R^4, where the Riemannian optimiser is plain Adam: what S^3 is compared with."""
        self.tau = geoopt.ManifoldParameter(self.tau.detach(), manifold=geoopt.Euclidean())

    @torch.no_grad()
    def gather_rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Copies of all tensors at `rows` [M] (rows may repeat), by parameter name."""
        return {name: parameter[rows] for name, parameter in self.named_parameters()}

    def replace_(self, tensors: dict[str, Tensor]) -> None:
        """Put other rows in place: new parameters of the same kinds, for all names at once."""
        assert tensors.keys() == dict(self.named_parameters()).keys(), (
            "every per-Gaussian tensor must be replaced"
        )
        self.xyz = nn.Parameter(tensors["xyz"])
        self.log_scale = nn.Parameter(tensors["log_scale"])
        self.rotation = nn.Parameter(tensors["rotation"])
        self.tau = geoopt.ManifoldParameter(tensors["tau"], manifold=self.tau.manifold)
        self.opacity_offset = nn.Parameter(tensors["opacity_offset"])
        self.blendshapes = nn.Parameter(tensors["blendshapes"])
        self.torso_logit = nn.Parameter(tensors["torso_logit"])
