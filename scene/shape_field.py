"""The person's shape as far as the head model leaves it out: one smooth displacement for all Gaussians.

Single Gaussians learn from single pixels and move by themselves; a small network moves a cheek as a whole, so
that what the outline says of its rim holds beside it too. Not of the published method.
"""

import torch
from torch import Tensor, nn

from scene.deformation import positional_encoding

DEPTH, WIDTH = 2, 32
# The finest is about as wide as a nose.
FREQUENCIES = 6


class ShapeField(nn.Module):
    """An MLP of the place on the neutral face; starts as no displacement."""

    def __init__(self) -> None:
        super().__init__()
        size, layers = 3 + 6 * FREQUENCIES, []
        for _ in range(DEPTH):
            layers += [nn.Linear(size, WIDTH), nn.ReLU()]
            size = WIDTH
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(size, 3)
        nn.init.normal_(self.head.weight, std=1e-4)
        nn.init.zeros_(self.head.bias)

    def forward(self, xyz: Tensor, reach: Tensor) -> Tensor:
        """Displacements [N, 3] of places [N, 3], no farther than `reach` [N, 1]; no gradient flows into the
        places."""
        moved = self.head(self.layers(positional_encoding(xyz.detach(), FREQUENCIES)))
        return reach * torch.tanh(moved / reach)
