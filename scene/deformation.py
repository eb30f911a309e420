"""The motion deformation field: where a Gaussian goes when the face moves.

An MLP reads the positional encoding of a canonical mean and the driving signal (the expression vector, and
the head pose where the model has it) and returns offsets for the mean, the quaternion and the log-scale
(GaussianHead, arXiv 2312.01632, section 3.2; the network has the shape of NeRF's, Mildenhall et al. 2020,
with the input joined again half way).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Deformation(NamedTuple):
    """Offsets that are added to the canonical values."""

    xyz: Tensor  # [N, 3] world
    rotation: Tensor  # [N, 4] quaternion, raw
    log_scale: Tensor  # [N, 3]


def positional_encoding(points: Tensor, num_frequencies: int, *more: Tensor) -> Tensor:
    """Encode points [N, 3] as themselves and sin, cos of 2^i pi-free multiples: [N, 3 + 6 F]; `more` columns
    are appended.

    Frequencies are 1, 2, 4, ..., 2^(F-1) (Eq. 4 of Mildenhall et al. 2020, without the factor pi, as the
    reference implementations have it). Ten of them give the 63 numbers of the paper.
    """
    octaves = 2.0 ** torch.arange(num_frequencies, device=points.device, dtype=points.dtype)  # [F]
    angles = (points[:, None, :] * octaves[:, None]).flatten(1)  # [N, 3 F]
    return torch.cat([points, angles.sin(), angles.cos(), *more], dim=1)


class DeformationField(nn.Module):
    """MLP of `depth` layers of `width`; the input joins again after the middle layer; three linear heads."""

    def __init__(self, signal_size: int, depth: int = 8, width: int = 256, num_frequencies: int = 10) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.encoding_size = 3 + 6 * num_frequencies
        # "After layer 4" of 8.
        self.rejoin_at = depth // 2
        input_size = self.encoding_size + signal_size
        self.layers = nn.ModuleList(
            nn.Linear(input_size if i == 0 else width + input_size * (i == self.rejoin_at), width)
            for i in range(depth)
        )
        self.xyz_head = nn.Linear(width, 3)
        self.rotation_head = nn.Linear(width, 4)
        self.log_scale_head = nn.Linear(width, 3)
        for head in (self.xyz_head, self.rotation_head, self.log_scale_head):
            nn.init.zeros_(head.bias)
            # Starts as no motion, yet gradients reach every layer.
            nn.init.normal_(head.weight, std=1e-4)

    def forward(self, xyz: Tensor, signals: Tensor, shares: Tensor | None = None) -> Deformation:
        """Offsets for means [N, 3] under one driving signal [D], or under one of signals [S, D], as `shares`
        [N, S] say, 1 or 0. The field learns where points go, not where they are: no gradient flows from
        the encoding into the means."""
        # The shares as columns: what signals add is a part of the product, and so is its gradient.
        columns = [] if shares is None else [shares]
        rows = positional_encoding(xyz.detach(), self.num_frequencies, *columns)  # [N, 63 + S]
        hidden = None
        for i, layer in enumerate(self.layers):
            if i == 0:
                hidden = self._joined(layer, None, rows, signals)
            elif i == self.rejoin_at:
                hidden = self._joined(layer, hidden, rows, signals)
            else:
                hidden = layer(hidden)
            hidden = F.relu_(hidden)
        # One product for the three, and one gradient.
        heads = self.xyz_head, self.rotation_head, self.log_scale_head
        weights, biases = torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads])
        offsets = F.linear(hidden, weights, biases)
        return Deformation(*offsets.split([head.out_features for head in heads], dim=1))

    def _joined(self, layer: nn.Linear, hidden: Tensor | None, rows: Tensor, signals: Tensor) -> Tensor:
        """layer([hidden, encoding, signal]); `rows`: the encoding and, for signals [S, D], their shares.

        A signal's product is computed once, not N times; none with the encoding is, for its gradient.
        """
        width = layer.in_features - self.encoding_size - signals.shape[-1]
        before, own, common = layer.weight.split([width, self.encoding_size, signals.shape[-1]], dim=1)
        shared = F.linear(signals, common, layer.bias)
        if signals.dim() == 1:
            joined = F.linear(rows, own, shared)
        else:
            joined = F.linear(rows, torch.cat([own, shared.t()], dim=1))
        return joined if hidden is None else joined.addmm_(hidden, before.t())
