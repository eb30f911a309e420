"""The canonical Gaussians: every tensor that has one row per Gaussian lives here, and nowhere else.

Raw values; what the renderer sees is activated in `head_model.py`. `gather_rows` is the one way in which the
number of Gaussians changes, so that parameters, optimizer moments and statistics can never fall out of step.
A new tensor is one line of TENSORS (and a learning rate in `optimization.py`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from arguments import NetworkParams
from scene.blendshapes import OFFSET_SIZE
from scene.derivation import initial_tau
from scene.scaffold import Places
from scene.torso import initial_membership
from simple_knn._C import distCUDA2
from utils.memo import Memo


class Start(NamedTuple):
    """What the first values are made from."""

    xyz: Tensor  # [N, 3]
    sizes: NetworkParams
    generator: torch.Generator | None
    # On a scaffold: where, how large, how turned, how opaque.
    seated: "Seated | None" = None


class Seated(NamedTuple):
    """How N Gaussians start on a scaffold."""

    places: Places
    log_scale: Tensor  # [N, 3]
    rotation: Tensor  # [N, 4]
    opacity_offset: Tensor  # [N]


class RowTensor(NamedTuple):
    """A tensor with a row per Gaussian: the shape of a row, and the first values."""

    row_shape: Callable[[NetworkParams], tuple[int, ...]]
    first_values: Callable[[Start], Tensor]
    is_learned: bool = True


def _first_scale(start: Start) -> Tensor:  # [N, 3]
    """As wide as the RMS distance to the 3 nearest neighbours."""
    if start.seated is not None:
        return start.seated.log_scale
    squared_distance = distCUDA2(start.xyz).clamp_min(1e-10)  # [N]
    return 0.5 * squared_distance.log()[:, None].expand(-1, 3).clone()


def _first_rotation(start: Start) -> Tensor:  # [N, 4]
    if start.seated is not None:
        return start.seated.rotation
    rotation = torch.zeros(len(start.xyz), 4)
    rotation[:, 0] = 1
    return rotation


def _small_blendshapes(start: Start) -> Tensor:  # [N, B, 14]
    """Not zero: with zero bases the blend weights would get no gradient."""
    size = len(start.xyz), start.sizes.num_blendshapes, OFFSET_SIZE
    return 1e-3 * torch.randn(size, generator=start.generator)


def _torso_logit(start: Start) -> Tensor:  # [N, 1 or 0]
    return initial_membership(start.xyz)[:, : int(start.sizes.torso_membership)]


def _opacity_offset(start: Start) -> Tensor:  # [N]
    return torch.zeros(len(start.xyz)) if start.seated is None else start.seated.opacity_offset


def _triangle(start: Start) -> Tensor:  # [N, 1 or 0]
    if start.seated is None:
        return torch.zeros(len(start.xyz), 0, dtype=torch.int32)
    return start.seated.places.triangle[:, None].int()


def _barycentric(start: Start) -> Tensor:  # [N, 3 or 0]
    return torch.zeros(len(start.xyz), 0) if start.seated is None else start.seated.places.barycentric


# In this order random numbers are drawn.
TENSORS = {
    "xyz": RowTensor(lambda sizes: (3,), lambda start: start.xyz),
    "log_scale": RowTensor(lambda sizes: (3,), _first_scale),
    # A quaternion, wxyz, not normalised.
    "rotation": RowTensor(lambda sizes: (4,), _first_rotation),
    # K rotations, on (S^3)^K.
    "tau": RowTensor(
        lambda sizes: (sizes.num_derivations, 4),
        lambda start: initial_tau(len(start.xyz), start.sizes.num_derivations, start.generator),
    ),
    # Added to the decoded logit of the opacity.
    "opacity_offset": RowTensor(lambda sizes: (), _opacity_offset),
    "blendshapes": RowTensor(lambda sizes: (sizes.num_blendshapes, OFFSET_SIZE), _small_blendshapes),
    # How far a Gaussian belongs to the torso.
    "torso_logit": RowTensor(lambda sizes: (int(sizes.torso_membership),), _torso_logit),
    # Of its own, added to that of its place and to the decoded one.
    "color": RowTensor(
        lambda sizes: (3 * sizes.scaffold,),
        lambda start: torch.zeros(len(start.xyz), 3 * start.sizes.scaffold),
    ),
    # Its place on the scaffold.
    "triangle": RowTensor(lambda sizes: (int(sizes.scaffold),), _triangle, is_learned=False),
    "barycentric": RowTensor(lambda sizes: (3 * sizes.scaffold,), _barycentric, is_learned=False),
}


class GaussianModel(nn.Module):
    """N Gaussians: a parameter [N, ...] for every name of TENSORS."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        assert tensors.keys() == TENSORS.keys()
        for name, kind in TENSORS.items():
            if kind.is_learned:
                setattr(self, name, nn.Parameter(tensors[name]))
            else:
                self.register_buffer(name, tensors[name])

        self._places: Memo[Places] = Memo()

    def __len__(self) -> int:
        return self.xyz.shape[0]

    @classmethod
    def empty(cls, num_gaussians: int, sizes: NetworkParams) -> "GaussianModel":
        """Zeros of the right shapes, to load a state dict into."""
        tensors = {name: torch.zeros(num_gaussians, *t.row_shape(sizes)) for name, t in TENSORS.items()}
        return cls(tensors | {"triangle": tensors["triangle"].int()})

    @classmethod
    def in_cube(
        cls,
        num_gaussians: int,
        half_side: float,
        sizes: NetworkParams,
        generator: torch.Generator | None = None,
    ) -> "GaussianModel":
        """Points uniform in the cube [-half_side, half_side]^3."""
        xyz = half_side * (2 * torch.rand(num_gaussians, 3, generator=generator) - 1)
        return cls.from_points(xyz, sizes, generator)

    @classmethod
    def from_points(
        cls,
        xyz: Tensor,
        sizes: NetworkParams,
        generator: torch.Generator | None = None,
        seated: Seated | None = None,
    ) -> "GaussianModel":
        """Gaussians at given places [N, 3]: seated on a scaffold, else isotropic, as wide as the RMS distance
        to the 3 nearest neighbours."""
        start = Start(xyz, sizes, generator, seated)
        return cls({name: tensor.first_values(start) for name, tensor in TENSORS.items()})

    @torch.no_grad()
    def gather_rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Copies of all tensors at `rows` [M] (rows may repeat), by parameter name."""
        return {name: getattr(self, name)[rows] for name in TENSORS}

    @property
    def places(self) -> Places:
        """Where they sit on the scaffold."""
        of_buffers = self.triangle, self.barycentric
        return self._places(of_buffers, lambda: Places(self.triangle[:, 0].long(), self.barycentric))

    def replace_(self, tensors: dict[str, Tensor]) -> None:
        """Put other rows in place: new parameters of the same kinds, for all names at once."""
        assert tensors.keys() == TENSORS.keys(), "every per-Gaussian tensor must be replaced"
        for name, tensor in tensors.items():
            if TENSORS[name].is_learned:
                tensor = nn.Parameter(tensor)
            setattr(self, name, tensor)
