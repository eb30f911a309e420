"""An exponential moving average of the weights: what is evaluated and saved, instead of the last step.

Single steps follow single frames and their tracking noise; the average does not (Polyak and Juditsky 1992). A
departure from the published method, off by default.
"""

import copy

import torch
from torch import Tensor

from scene.head_model import GaussianHead


class WeightAverage:
    """The average of all weights of a head whose number of Gaussians no longer changes."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {}
        self.num_updates = 0

    @torch.no_grad()
    def update_(self, head: GaussianHead) -> None:
        """Take in the present weights; at first they weigh more, so that the start is soon forgotten."""
        current = {name: value.detach() for name, value in head.named_parameters()}
        if self.weights.keys() != current.keys() or any(
            self.weights[name].shape != value.shape for name, value in current.items()
        ):
            self.weights = {name: value.clone() for name, value in current.items()}
            self.num_updates = 0
            return
        self.num_updates += 1
        share = max(1 - self.decay, 1 / (self.num_updates + 1))
        torch._foreach_lerp_([self.weights[name] for name in current], list(current.values()), share)

    @torch.no_grad()
    def averaged(self, head: GaussianHead) -> GaussianHead:
        """A copy of the head with the averaged weights; tau is brought back onto (S^3)^K."""
        if not self.weights:
            return head
        other = copy.deepcopy(head)
        for name, parameter in other.named_parameters():
            parameter.copy_(self.weights[name])
        other.gaussians.tau.copy_(torch.nn.functional.normalize(other.gaussians.tau, dim=-1))
        return other
