"""Flat access to the options of a config, and the rule by which a schedule is stretched or shortened."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from arguments.params import OptimizationParams, RunParams, TrainConfig
from arguments.presets import ON_SCAFFOLD

Config = TypeVar("Config")

RESCALED_OPTIONS = tuple(
    option.name
    for group in (OptimizationParams, RunParams)
    for option in fields(group)
    if option.metadata["rescaled"]
)


def option_values(config: Any) -> dict[str, Any]:
    """Return all options of a config as {name: value}; names are unique across its groups."""
    groups = [getattr(config, f.name) for f in fields(config) if is_dataclass(getattr(config, f.name))]
    return {option.name: getattr(group, option.name) for group in groups for option in fields(group)}


def replace_options(config: Config, values: dict[str, Any]) -> Config:
    """Return the config with the named options changed, whatever groups they live in."""
    groups = {
        f.name: getattr(config, f.name) for f in fields(config) if is_dataclass(getattr(config, f.name))
    }
    changed = {
        name: replace(group, **{o.name: values[o.name] for o in fields(group) if o.name in values})
        for name, group in groups.items()
    }
    unknown = set(values) - set(option_values(config))
    assert not unknown, f"no such options: {sorted(unknown)}"
    return replace(config, **changed)


def on_scaffold(config: TrainConfig) -> TrainConfig:
    """Return the config with what its preset changes on a scaffold; what was given keeps its value."""
    changes = ON_SCAFFOLD.get(config.run.preset, {})
    return replace_options(
        config, {name: value for name, value in changes.items() if name not in config.given}
    )


def rescale_schedule(config: TrainConfig, iterations: int) -> tuple[TrainConfig, tuple[str, ...]]:
    """Stretch or shorten the schedule to so many iterations; milestones that were given keep their value.

    Every milestone is multiplied by iterations / config.optimization.iterations and rounded, to at least 1
    (0 stays 0). Returns the new config and what changed, as ("warm_up 3000 -> 188", ...), for the log.
    """
    before = option_values(config)
    ratio = iterations / config.optimization.iterations

    def rescaled(value):
        if isinstance(value, tuple):
            return tuple(sorted({min(rescaled(v), iterations) for v in value}))
        return value and max(1, int(value * ratio + 0.5))

    milestones = {name: rescaled(before[name]) for name in RESCALED_OPTIONS if name not in config.given}
    config = replace_options(config, {**milestones, "iterations": iterations})
    changes = tuple(
        f"{name} {_text(before[name])} -> {_text(value)}"
        for name, value in milestones.items()
        if value != before[name]
    )
    return config, changes


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
