"""The optimizers: named parameter groups, their learning-rate schedules, and rows that come and go.

Two optimizers behind one object: Adam for everything that lives in a vector space, geoopt's Riemannian Adam
for tau, which lives on (S^3)^K. Groups are addressed by name; a name without a schedule, or a schedule
without parameters, is an error when training starts. On CUDA, rates and step counts are tensors, so that a
step can be recorded as a graph.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import geoopt
import torch
from torch import Tensor, nn

from arguments import OptimizationParams
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
    """Learning rate of every group."""
    p = params
    scale = p.position_lr_scale
    return {
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
    """Adam and Riemannian Adam over the named groups of one head.

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
        self._group_names = tuple(groups)
        device = head.gaussians.xyz.device
        self._rates_there = torch.zeros(len(groups), device=device) if device.type == "cuda" else None  # [G]
        described = {
            name: dict(params=p, name=name, weight_decay=decay.get(name, 0.0), lr=self._rate_there(i))
            for i, (name, p) in enumerate(groups.items())
            if p
        }
        tau = described.pop("tau")
        # eps of the family: gradients of a mean over all pixels are tiny. `fused` only changes the speed.
        self.adam = torch.optim.Adam(
            list(described.values()),
            eps=1e-15,
            fused=True,
            decoupled_weight_decay=True,
            capturable=self._rates_there is not None,
        )
        self.riemannian = geoopt.optim.RiemannianAdam([tau], eps=1e-15)
        # geoopt counts in Python where it makes the state itself.
        if self._rates_there is not None:
            (parameter,) = tau["params"]
            step = torch.zeros((), dtype=torch.float64, device=device)
            moments = {key: torch.zeros_like(parameter.data) for key in ("exp_avg", "exp_avg_sq")}
            self.riemannian.state[parameter] = {"step": step, **moments}
        self.set_learning_rates(0)

    def _rate_there(self, i: int) -> Tensor | float:
        return 0.0 if self._rates_there is None else self._rates_there[i]

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        return self.adam, self.riemannian

    def set_learning_rates(self, iteration: int) -> dict[str, float]:
        """Rates of this iteration, by group name; returned for the log."""
        current = {name: rate(iteration) for name, rate in self.rates.items()}
        # The groups hold its elements.
        if self._rates_there is not None:
            ordered = torch.tensor([current[name] for name in self._group_names])
            self._rates_there.copy_(ordered, non_blocking=True)
            return current
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = current[group["name"]]
        return current

    def step(self) -> None:
        """One step of both optimizers; gradients are dropped afterwards."""
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

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
            optimizer, group = self._find(name)
            state = optimizer.state.pop(old[name], None)
            group["params"] = [new]
            if state is not None:
                optimizer.state[new] = {
                    key: _gather_moment(value, rows, is_fresh) for key, value in state.items()
                }

    @torch.no_grad()
    def forget_moments_(self, name: str) -> None:
        """Zero the moments of one group, where its values were set from outside."""
        optimizer, group = self._find(name)
        for parameter in group["params"]:
            for moment in _row_tensors(optimizer.state.get(parameter, {})):
                moment.zero_()

    def state_tensors(self) -> dict[str, Tensor]:
        """All state as named tensors, for a checkpoint: `<parameter>.<key>`; steps as float64 scalars."""
        named = {parameter: name for name, parameter in self.head.named_parameters()}
        tensors = {}
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    is_tensor = isinstance(value, Tensor) and value.ndim > 0
                    tensors[f"{named[parameter]}.{key}"] = (
                        value if is_tensor else torch.tensor(float(value), dtype=torch.float64)
                    )
        return tensors

    def load_state_tensors_(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state_tensors` gave. Steps regain their type: a tensor for Adam, a Python int for
        geoopt on the CPU (whose own `load_state_dict` leaves a float tensor, and a resumed run would differ).
        """
        parameters = dict(self.head.named_parameters())
        for path, value in tensors.items():
            name, key = path.rsplit(".", 1)
            parameter = parameters[name]
            optimizer, _ = self._find_parameter(parameter)
            if key == "step":
                value = self._step_count(float(value), optimizer, parameter.device)
            else:
                value = value.to(parameter.device).clone()
            optimizer.state[parameter][key] = value

    def _step_count(self, steps: float, optimizer: torch.optim.Optimizer, device) -> Tensor | int:
        """A step count of the type that the optimizer keeps, where it keeps it."""
        if optimizer is self.adam:
            return torch.tensor(steps, dtype=torch.float32, device=device)
        if self._rates_there is None:
            return int(steps)
        return torch.tensor(steps, dtype=torch.float64, device=device)

    def _find(self, name: str) -> tuple[torch.optim.Optimizer, dict]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if group["name"] == name:
                    return optimizer, group
        raise KeyError(f"no parameter group is named {name!r}")

    def _find_parameter(self, parameter: nn.Parameter) -> tuple[torch.optim.Optimizer, dict]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if any(parameter is p for p in group["params"]):
                    return optimizer, group
        raise KeyError("the parameter is in no group")


def _row_tensors(state: dict) -> list[Tensor]:
    return [value for value in state.values() if isinstance(value, Tensor) and value.ndim > 0]


def _gather_moment(value, rows: Tensor, is_fresh: Tensor):
    """A moment [N, ...] -> [M, ...]; step counts stay."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    gathered = value[rows]
    gathered[is_fresh] = 0
    return gathered
