"""Blendshapes: every Gaussian owns B learned offsets that the driving signal blends.

A departure from the published method, off by default. The deformation field is one network for all Gaussians,
so that the many at the outline, where the tracking jitters against a bright background, drown the few that
make a mouth open. Offsets of a Gaussian's own are learned at its own pace (learned bases: RGBAvatar, Li et
al. 2025; expression blendshapes of Gaussians: Ma et al. 2024).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

OFFSET_SIZES = {"xyz": 3, "rotation": 4, "log_scale": 3, "opacity_logit": 1, "color": 3}
OFFSET_SIZE = sum(OFFSET_SIZES.values())
# World units; a mouth opens by about half of it.
MOTION_UNIT = 0.1


class Blend(NamedTuple):
    """Offsets that are added to the canonical and decoded values."""

    xyz: Tensor  # [N, 3] world
    rotation: Tensor  # [N, 4] quaternion, raw
    log_scale: Tensor  # [N, 3]
    opacity_logit: Tensor  # [N]
    color: Tensor  # [N, 3] of the SH DC coefficient


class Blendshapes(nn.Module):
    """The weights of the B blendshapes as a function of the driving signal [D]."""

    def __init__(self, signal_size: int, num_blendshapes: int, width: int = 64) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Linear(signal_size, width), nn.SiLU(), nn.Linear(width, num_blendshapes)
        )

    def forward(self, bases: Tensor, signals: Tensor, shares: Tensor | None = None) -> Blend:
        """Blend the bases [N, B, 14] of all Gaussians under one driving signal [D], or under one of signals
        [S, D], as the `shares` [N, S] say, 1 or 0."""
        weights = self.weights(signals)
        # No index: its gradient is summed one row after the other.
        weights = weights[None] if shares is None else shares @ weights
        offsets = _Blending.apply(bases, weights)
        xyz, rotation, log_scale, opacity_logit, color = offsets.split(list(OFFSET_SIZES.values()), dim=1)
        return Blend(MOTION_UNIT * xyz, rotation, log_scale, opacity_logit[:, 0], color)


class _Blending(torch.autograd.Function):
    """sum_b weights[n, b] bases[n, b] -> [N, C], of bases [N, B, C] and weights [N, B], or [1, B] for all.

    Gradients by hand: autograd makes the large one, that of the bases, by N outer products, transposed.
    """

    @staticmethod
    def forward(ctx, bases: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(bases, weights)
        return torch.bmm(weights[:, None].expand(len(bases), -1, -1), bases)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, v_offsets: Tensor) -> tuple[Tensor, Tensor]:
        bases, weights = ctx.saved_tensors
        v_weights = torch.bmm(bases, v_offsets[:, :, None])[:, :, 0]  # [N, B]
        return weights[:, :, None] * v_offsets[:, None], v_weights.sum_to_size(weights.shape)
