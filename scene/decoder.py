"""Hierarchical decoding: tri-plane feature -> opacity and geometry -> view-dependent colour.

Opacity is decoded before the view direction enters, so that geometry cannot depend on where one looks from;
colour comes as spherical-harmonic coefficients from the geometry feature and the view direction
(GaussianHead, section 3.4).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# As in the family.
INITIAL_OPACITY = 0.1


class Decoded(NamedTuple):
    """What the feature of a Gaussian says."""

    opacity_logit: Tensor  # [N]
    sh: Tensor  # [N, S, 3]


class HierarchicalDecoder(nn.Module):
    """Two small MLPs; sizes follow the SH degree."""

    def __init__(
        self, num_channels: int = 32, width: int = 64, num_geometry: int = 32, sh_degree: int = 3
    ) -> None:
        super().__init__()
        num_rest = (sh_degree + 1) ** 2 - 1
        self.geometry = nn.Linear(num_channels, width)
        # Opacity logit and geometry feature.
        self.geometry_head = nn.Linear(width, 1 + num_geometry)
        self.color = nn.Linear(num_geometry + 3, width)
        self.sh_dc_head = nn.Linear(width, 3)
        self.sh_rest_head = nn.Linear(width, 3 * num_rest) if num_rest else None
        with torch.no_grad():
            self.geometry_head.bias[0] = math.log(INITIAL_OPACITY / (1 - INITIAL_OPACITY))
            # Zero: a degree that comes in later changes no colour at once.
            if self.sh_rest_head is not None:
                self.sh_rest_head.weight.zero_()
                self.sh_rest_head.bias.zero_()

    @torch.no_grad()
    def add_nothing_(self) -> None:
        """Start from zero: all that is decoded comes on top of what each Gaussian has."""
        self.geometry_head.bias[0] = 0
        self.sh_dc_head.weight.zero_()
        self.sh_dc_head.bias.zero_()

    def forward(self, features: Tensor, directions: Tensor, sh_degree: int) -> Decoded:
        """Decode features [N, C] seen along unit directions [N, 3]; SH up to `sh_degree`, S = (degree +
        1)^2."""
        decoded = self.geometry_head(F.relu_(self.geometry(features)))  # [N, 1 + G]
        opacity_logit, geometry = decoded[:, 0], decoded[:, 1:]
        # Of their concatenation, which would have to be made, and its gradient to be taken apart.
        of_geometry, of_direction = self.color.weight.split([geometry.shape[1], 3], dim=1)
        hidden = F.linear(directions, of_direction, self.color.bias).addmm_(geometry, of_geometry.t())
        hidden = F.relu_(hidden)  # [N, width]
        sh = self.sh_dc_head(hidden)[:, None, :]  # [N, 1, 3]
        num_rest = (sh_degree + 1) ** 2 - 1
        if num_rest:
            head = self.sh_rest_head
            # Rows of inactive bases are left out of the product.
            rest = F.linear(hidden, head.weight[: 3 * num_rest], head.bias[: 3 * num_rest])
            sh = torch.cat([sh, rest.unflatten(1, (num_rest, 3))], dim=1)  # [N, S, 3]
        return Decoded(opacity_logit, sh)
