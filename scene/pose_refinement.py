"""Poses of the training frames, corrected a little while the head is learned.

A tracker leaves about a pixel of noise in every pose, and a head that must satisfy all of them blurs. Each
training frame owns a small rigid correction in camera space, learned through the rasterizer's gradient of the
pose. Held-out frames keep their tracked poses: what is common to all corrections would only move the head,
and what follows from pose or expression would move it with them. So both are taken out, and what is left is
the noise of single frames. A departure from the published method, off by default.
"""

import torch
from torch import Tensor, nn

NEGLIGIBLE = 0.05  # of the largest spread of the driving signals along any direction


class PoseRefinement(nn.Module):
    """Corrections [F, 6] of F training frames: rotation vector (radians) and translation (world units)."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.corrections = nn.Embedding(num_frames, 6, sparse=True)  # a frame's row moves when it is seen
        nn.init.zeros_(self.corrections.weight)
        constant = torch.full((num_frames, 1), num_frames**-0.5)
        self.register_buffer("explained", constant, persistent=False)  # [F, R] orthonormal columns

    def keep_free_of_(self, signals: Tensor) -> None:
        """Take out of the corrections all that a linear map of the driving signals [F, D] could be."""
        directions, spreads, _ = torch.linalg.svd(signals - signals.mean(dim=0), full_matrices=False)
        varied = directions[:, spreads > NEGLIGIBLE * spreads[0]]
        self.explained = torch.cat([self.explained[:, :1], varied.to(self.explained)], dim=1)

    def forward(self, frame: int, world_to_camera: Tensor) -> Tensor:
        """The corrected pose [4, 4] of training frame `frame`."""
        index = torch.full((1,), frame, device=world_to_camera.device)
        common = self.explained[frame] @ (self.explained.T @ self.corrections.weight.detach())  # [6]
        return rigid_motion(self.corrections(index)[0] - common) @ world_to_camera

    def largest(self) -> tuple[float, float]:
        """The largest correction: radians and world units."""
        corrections = self.corrections.weight.detach()
        corrections = corrections - self.explained @ (self.explained.T @ corrections)
        return tuple(float(part.norm(dim=1).max()) for part in corrections.split(3, dim=1))


def rigid_motion(vector: Tensor) -> Tensor:
    """A small motion [4, 4] from a rotation vector and a translation [6]; the rotation by its exponential."""
    x, y, z, *translation = vector.unbind()
    zero = torch.zeros_like(x)
    generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    last_row = vector.new_zeros(1, 4)
    last_row[0, 3] = 1
    upper = torch.cat([torch.linalg.matrix_exp(generator), torch.stack(translation)[:, None]], dim=1)
    return torch.cat([upper, last_row])
