"""The learning rates: named parameter groups, their schedules, and rows that come and go.

One optimizer for everything that lives in a vector space and for tau, which lives on (S^3)^K (scene/adam.py).
Groups are addressed by name; a name without a schedule, or a schedule without parameters, is an error when
training starts. On CUDA, rates and step counts are tensors, so that a step can be recorded as a graph.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from arguments import OptimizationParams
from scene.adam import Adam, Group, Moments
from scene.head_model import GaussianHead

Schedule = Callable[[int], float]
# Share of the blendshapes' rate: a network cannot take what single offsets can.
BLEND_WEIGHTS_RATE = 0.2


def constant(value: float) -> Schedule:
    """The same rate at every iteration."""
    return lambda iteration: value


def log_linear(initial: float, final: float, max_steps: int) -> Schedule:
    """Straight line in log space from `initial` at 0 to `final` at `max_steps`, constant afterwards."""
    # A group that is to stay as it is.
    if initial == final == 0:
        return constant(0.0)
    assert initial > 0 and final > 0 and max_steps > 0

    def rate(iteration: int) -> float:
        progress = min(max(iteration / max_steps, 0.0), 1.0)
        return math.exp((1 - progress) * math.log(initial) + progress * math.log(final))

    return rate


def schedules(params: OptimizationParams) -> dict[str, Schedule]:
    """Learning rate of every group; of a mean over V views it is sqrt(V) times as large, as Adam's steps want
    it (Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms)."""
    p = params
    scale = p.position_lr_scale
    rates = {
        "xyz": log_linear(scale * p.position_lr_init, scale * p.position_lr_final, p.position_lr_max_steps),
        "log_scale": constant(p.scaling_lr),
        "rotation": constant(p.rotation_lr),
        "opacity_offset": constant(p.opacity_lr),
        "torso_logit": constant(p.opacity_lr),
        "color": constant(p.color_lr),
        "tau": log_linear(p.tau_lr_init, p.tau_lr_final, p.tau_lr_max_steps),
        "deformation": log_linear(p.deformation_lr_init, p.deformation_lr_final, p.deformation_lr_max_steps),
        "blendshapes": log_linear(p.blendshape_lr_init, p.blendshape_lr_final, p.deformation_lr_max_steps),
        "blend_weights": log_linear(
            BLEND_WEIGHTS_RATE * p.blendshape_lr_init,
            BLEND_WEIGHTS_RATE * p.blendshape_lr_final,
            p.deformation_lr_max_steps,
        ),
        "shape": log_linear(p.shape_lr_init, p.shape_lr_final, p.deformation_lr_max_steps),
        "triplane": log_linear(p.triplane_lr_init, p.triplane_lr_final, p.triplane_lr_max_steps),
        "opacity_mlp": constant(p.opacity_mlp_lr),
        "sh_mlp": constant(p.feature_lr),
        "sh_rest": constant(p.feature_rest_lr),
    }
    factor = p.views_per_step**0.5
    return {name: _times(factor, rate) for name, rate in rates.items()}


def _times(factor: float, rate: Schedule) -> Schedule:
    return lambda iteration: factor * rate(iteration)


def parameter_groups(head: GaussianHead) -> dict[str, list[nn.Parameter]]:
    """Every parameter of the head, exactly once, by group name."""
    decoder = head.decoder
    rest = list(decoder.sh_rest_head.parameters()) if decoder.sh_rest_head is not None else []
    return {
        **{name: [parameter] for name, parameter in head.gaussians.named_parameters()},
        "deformation": list(head.deformation.parameters()),
        "blend_weights": list(head.blendshapes.parameters()) if head.blendshapes is not None else [],
        "shape": list(head.shape.parameters()) if head.scaffold is not None else [],
        "triplane": list(head.triplane.parameters()),
        "opacity_mlp": [*decoder.geometry.parameters(), *decoder.geometry_head.parameters()],
        "sh_mlp": [*decoder.color.parameters(), *decoder.sh_dc_head.parameters()],
        "sh_rest": rest,
    }


class HeadOptimizer:
    """Adam over the named groups of one head, on the sphere for tau.

    Raises ValueError when groups and schedules do not name the same things or a parameter belongs to no
    group. `decay`: decoupled weight decay by group name, 0 where none is named.
    """

    def __init__(
        self,
        head: GaussianHead,
        rates: dict[str, Schedule],
        decay: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        groups = parameter_groups(head)
        if unknown := groups.keys() ^ rates.keys():
            raise ValueError(f"parameter groups and schedules differ in: {', '.join(sorted(unknown))}")
        num_grouped = sum(len(parameters) for parameters in groups.values())
        if num_grouped != len(list(head.parameters())):
            raise ValueError("a parameter of the head belongs to no group, or to two")
        self.head = head
        self.rates = rates
        device = head.gaussians.xyz.device
        self._rates_there = torch.zeros(len(groups), device=device) if device.type == "cuda" else None  # [G]
        described = [
            Group(
                name,
                parameters,
                self._rate_there(i),
                decay.get(name, 0.0),
                name == "tau" and not self._is_flat,
            )
            for i, (name, parameters) in enumerate(groups.items())
        ]
        # eps of the family: gradients of a mean over all pixels are tiny.
        self.adam = Adam(described, eps=1e-15)
        self._groups = {group.name: group for group in described}
        # Of the last step: what was looked at, and whether it was not finite [1 + number of gradients].
        self.watched: tuple[str, ...] = ()
        self.are_broken = torch.zeros(0, dtype=torch.bool, device=device)
        self.set_learning_rates(0)

    @property
    def _is_flat(self) -> bool:
        return self.head.architecture.flat_tau

    def _rate_there(self, i: int) -> Tensor | float:
        return 0.0 if self._rates_there is None else self._rates_there[i]

    def set_learning_rates(self, iteration: int) -> dict[str, float]:
        """Rates of this iteration, by group name; returned for the log."""
        current = {name: rate(iteration) for name, rate in self.rates.items()}
        # The groups hold its elements.
        if self._rates_there is not None:
            ordered = torch.tensor([current[name] for name in self._groups])
            self._rates_there.copy_(ordered, non_blocking=True)
            return current
        for name, group in self._groups.items():
            group.rate = current[name]
        return current

    @torch.no_grad()
    def step(self, loss: Tensor | None = None) -> None:
        """One step; gradients are dropped afterwards.

        Nothing moves where the loss [], if it is given, or a gradient is not finite: `are_broken` then says
        which of `watched`. The host does not look, so that a step can be recorded as a graph.
        """
        grads = {n: p.grad for n, p in self.head.named_parameters() if p.grad is not None and p.numel()}
        self.watched = ("the loss", *(f"the gradient of {name}" for name in grads))
        # Sums: infinite, or none, where one of the numbers is.
        sums = torch._foreach_norm(list(grads.values()), 1) if grads else ()
        loss = torch.zeros((), device=self.head.gaussians.xyz.device) if loss is None else loss.detach()
        self.are_broken = ~torch.stack([loss, *sums]).isfinite()
        self.adam.step(skip=self.are_broken.any())

    @torch.no_grad()
    def gather_gaussians_(self, rows: Tensor, is_fresh: Tensor, overrides: dict[str, Tensor]) -> None:
        """Let the Gaussians at `rows` [M] (old indices, may repeat) be the new ones.

        Parameters are gathered, then replaced by `overrides` where given (name -> [M, ...]); moments are
        gathered too and zeroed where `is_fresh` [M]: a survivor keeps its own, a clone or split child starts
        anew.
        """
        gaussians = self.head.gaussians
        old = dict(gaussians.named_parameters())
        gaussians.replace_({**gaussians.gather_rows(rows), **overrides})
        for name, new in gaussians.named_parameters():
            self._groups[name].parameters = [new]
            moments = self.adam.moments.pop(old[name], None)
            if moments is not None:
                gathered = (_gather_moment(m, rows, is_fresh) for m in (moments.exp_avg, moments.exp_avg_sq))
                self.adam.moments[new] = Moments(moments.step, *gathered)

    @torch.no_grad()
    def forget_moments_(self, name: str) -> None:
        """Zero the moments of one group, where its values were set from outside."""
        for parameter in self._groups[name].parameters:
            if parameter in self.adam.moments:
                for moment in self.adam.moments[parameter][1:]:
                    moment.zero_()

    def state_tensors(self) -> dict[str, Tensor]:
        """All state as named tensors, for a checkpoint: `<parameter>.<key>`; steps as float64 scalars."""
        named = {parameter: name for name, parameter in self.head.named_parameters()}
        tensors = {}
        for parameter, moments in self.adam.moments.items():
            for key, value in moments._asdict().items():
                is_step = key == "step"
                tensors[f"{named[parameter]}.{key}"] = value.double().cpu() if is_step else value
        return tensors

    def load_state_tensors_(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state_tensors` gave."""
        parameters = dict(self.head.named_parameters())
        by_parameter: dict[str, dict[str, Tensor]] = {}
        for path, value in tensors.items():
            name, key = path.rsplit(".", 1)
            if key != "step" and value.shape != parameters[name].shape:
                raise ValueError(
                    f"{path}: shape {list(value.shape)}, expected {list(parameters[name].shape)}"
                )
            device = parameters[name].device
            value = value.to(device, torch.float32) if key == "step" else value.to(device).clone()
            by_parameter.setdefault(name, {})[key] = value
        self.adam.moments = {parameters[name]: Moments(**state) for name, state in by_parameter.items()}


def _gather_moment(moment: Tensor, rows: Tensor, is_fresh: Tensor) -> Tensor:
    """A moment [N, ...] -> [M, ...]."""
    gathered = moment[rows]
    gathered[is_fresh] = 0
    return gathered
