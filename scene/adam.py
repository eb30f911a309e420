"""Adam, for parameters of a vector space and for unit quaternions.

Kingma and Ba 2015 with decoupled weight decay (Loshchilov and Hutter 2019); on the sphere its Riemannian form
(Becigneul and Ganea 2019): gradients are projected to the tangent space, one second moment belongs to a whole
quaternion, a step goes back to the sphere, and the first moment goes along. What `torch.optim.AdamW` and
`geoopt.optim.RiemannianAdam` compute, which the tests compare it with; those cost up to 25 times as much a
step, and the import of the first one five seconds.

On a CUDA device that the kernels run on, all parameters are one launch (scene/fused/adam.py). Steps are
counted on the parameters' device, so that a step can be recorded as a graph.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scene.fused.adam import adam_step, can_step

BETAS = 0.9, 0.999


class Moments(NamedTuple):
    """What a parameter remembers."""

    # [] float32 on the parameter's device: steps so far.
    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class Group:
    """Parameters with one learning rate: a number, or a tensor [] on their device."""

    def __init__(
        self,
        name: str,
        parameters: Iterable[nn.Parameter],
        rate: float | Tensor,
        weight_decay: float = 0.0,
        on_sphere: bool = False,
    ) -> None:
        self.name, self.parameters = name, list(parameters)
        self.rate, self.weight_decay, self.on_sphere = rate, weight_decay, on_sphere


class Adam:
    """One optimizer for groups of both kinds. `moments`: by parameter, from its first gradient on."""

    def __init__(self, groups: Iterable[Group], eps: float) -> None:
        self.groups, self.eps = list(groups), eps
        self.moments: dict[nn.Parameter, Moments] = {}

    @torch.no_grad()
    def step(self, skip: Tensor | None = None) -> None:
        """Move all parameters that have a gradient, and drop it. Where `skip` [] is true, only drop it."""
        moved = [(g, p) for g in self.groups for p in g.parameters if p.grad is not None and p.numel()]
        for _, parameter in moved:
            if parameter not in self.moments:
                self.moments[parameter] = fresh_moments(parameter)
        if not moved:
            return
        steps = [self.moments[parameter].step for _, parameter in moved]
        if can_step([parameter for _, parameter in moved]):
            # The host does not know whether this step counts.
            skip = None if skip is None else skip.float()
            # One for each: to add the same tensor to all cannot be recorded as a graph.
            torch._foreach_add_(steps, 1 if skip is None else [1 - skip] * len(steps))
            adam_step([(g, p, self.moments[p]) for g, p in moved], BETAS, self.eps, skip)
        elif skip is None or not skip:
            torch._foreach_add_(steps, 1)
            for group in self.groups:
                self._step_group(group, [p for g, p in moved if g is group])
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def _step_group(self, group: Group, parameters: list[nn.Parameter]) -> None:
        moments = [self.moments[parameter] for parameter in parameters]
        if group.on_sphere:
            for parameter, its in zip(parameters, moments):
                riemannian_step_(parameter, parameter.grad, its, group.rate, self.eps)
        elif parameters:
            torch._fused_adamw_(
                parameters,
                [parameter.grad for parameter in parameters],
                [its.exp_avg for its in moments],
                [its.exp_avg_sq for its in moments],
                [],
                [its.step for its in moments],
                lr=group.rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=group.weight_decay,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )


def fresh_moments(parameter: Tensor) -> Moments:
    """Nothing remembered yet."""
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return Moments(step, torch.zeros_like(parameter), torch.zeros_like(parameter))


def riemannian_step_(point: Tensor, grad: Tensor, moments: Moments, rate: float | Tensor, eps: float) -> None:
    """Move unit vectors [..., D] along their sphere; `moments.step` counts this step already."""
    count = moments.step.double()
    first, second = (1 - beta**count for beta in BETAS)
    grad = _tangent(point, grad)
    squared = grad.square().sum(dim=-1, keepdim=True)
    moments.exp_avg.mul_(BETAS[0]).add_(grad, alpha=1 - BETAS[0])
    moments.exp_avg_sq.mul_(BETAS[1]).add_(squared.expand_as(grad), alpha=1 - BETAS[1])
    direction = moments.exp_avg.div(first) / moments.exp_avg_sq.div(second).sqrt_().add_(eps)
    moved = point - rate * direction
    point.copy_(moved / moved.norm(dim=-1, keepdim=True))
    moments.exp_avg.copy_(_tangent(point, moments.exp_avg))


def _tangent(point: Tensor, vector: Tensor) -> Tensor:
    return vector - (point * vector).sum(dim=-1, keepdim=True) * point
