"""The command lines of train.py and render.py: who wins over whom.

Lowest first: defaults (the published method), `--preset`, `--is_debug`, rescaling by `--iterations`, the
flags that were given. With `--resume`, and in render.py, the stored config of the run takes the place of the
first four.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from arguments import presets
from arguments.config_file import load_config
from arguments.params import (
    TRAIN_GROUPS,
    NetworkParams,
    StartParams,
    TrainConfig,
)
from arguments.parser import build_parser, parse_flags
from arguments.rendering import RENDER_GROUPS, RenderConfig
from arguments.schedule import option_values, replace_options, rescale_schedule
from arguments.validation import (
    check_model,
    check_optimization,
    check_preset,
    check_ranges,
    check_render,
    check_run,
    check_writable,
)
from utils.errors import UserError

CONFIG_NAME = "config.json"
TRAIN_USAGE = "python train.py -s data/id1 -m output/id1 --eval"
RENDER_USAGE = "python render.py -m output/id1"


def parse_train_args(argv: list[str] | None = None) -> TrainConfig:
    """Parse and check the command line of train.py.

    Reads nothing but the flags, the existence of the paths they name and, with --resume, the stored config.
    Raises UserError.
    """
    parser = build_parser(
        "train.py", TRAIN_USAGE, "Train an animatable head avatar from a clip.", TRAIN_GROUPS
    )
    given = parse_flags(parser, argv, TRAIN_GROUPS)
    config = _resumed_config(given) if given.get("resume") else _fresh_config(given)
    for name in TRAIN_GROUPS:
        check_ranges(getattr(config, name))
    check_model(config.model, config.network)
    check_optimization(config.optimization, config.start)
    check_run(config)
    return config


def parse_render_args(argv: list[str] | None = None) -> RenderConfig:
    """Parse and check the command line of render.py, over the stored config of the training run.

    The devices are those of this machine, not those of the training run. Raises UserError.
    """
    parser = build_parser("render.py", RENDER_USAGE, "Render views of a trained avatar.", RENDER_GROUPS)
    given = parse_flags(parser, argv, RENDER_GROUPS)
    trained = stored_config(given.get("model_path"))
    config = RenderConfig(
        model=replace(trained.model, data_device="auto"),
        network=trained.network,
        pipeline=trained.pipeline,
        given=frozenset(given),
        notes=trained.notes,
    )
    debug = presets.DEBUG_RENDER_VALUES if given.get("is_debug") else {}
    config = replace_options(config, {**debug, **_with_implied_eval(given)})
    for name in RENDER_GROUPS:
        check_ranges(getattr(config, name))
    if config.model.sh_degree != trained.model.sh_degree:
        raise UserError(
            f"--sh_degree {config.model.sh_degree}: the avatar was trained with {trained.model.sh_degree} "
            f"({config.model.model_path / CONFIG_NAME})"
        )
    check_model(config.model, config.network)
    check_render(config)
    check_writable(config.model.model_path)
    return config


def _fresh_config(given: dict[str, Any]) -> TrainConfig:
    """Build the config of a new run: preset < --is_debug < rescaling < given."""
    is_debug = given.get("is_debug", False)
    preset = given.get("preset", presets.DEBUG_PRESET if is_debug else presets.DEFAULT_PRESET)
    check_preset(preset)
    values = {**presets.PRESETS[preset], **(presets.DEBUG_VALUES if is_debug else {}), "preset": preset}
    values.update({name: value for name, value in _with_implied_eval(given).items() if name != "iterations"})
    if "model_path" not in given and given.get("source_path") is not None:
        values["model_path"] = Path("output") / Path(given["source_path"]).resolve().name
    config = replace_options(TrainConfig(given=frozenset(given)), values)
    iterations = given.get("iterations", presets.DEBUG_ITERATIONS if is_debug else None)
    return config if iterations is None else _rescaled(config, iterations)


def _rescaled(config: TrainConfig, iterations: int) -> TrainConfig:
    if iterations < 1:
        raise UserError(f"--iterations {iterations}: must be at least 1")
    before = config.optimization.iterations
    config, changes = rescale_schedule(config, iterations)
    if not changes:
        return config
    schedule = f"schedule of preset {config.run.preset}, {before} iterations, rescaled to {iterations}"
    note = f"{schedule}: {', '.join(changes)}"
    return replace(config, notes=(*config.notes, note))


def _resumed_config(given: dict[str, Any]) -> TrainConfig:
    """Lay the given flags over the stored config.

    --iterations moves the end and no milestone, so that the run goes on exactly.
    """
    stored = stored_config(given.get("model_path"))
    sizes = (*fields(NetworkParams), *fields(StartParams))
    fixed = {"preset", "is_debug", "sh_degree", *(option.name for option in sizes)}
    before = option_values(stored)
    for name in sorted(fixed.intersection(given)):
        if given[name] != before[name]:
            raise UserError(
                f"--{name} {given[name]}: the run to --resume has {before[name]}, which cannot change"
            )
    transient = {"resume": False, "overwrite": False, "start_checkpoint": None, "max_minutes": 0.0}
    transient |= {"viewer": False, "viewer_port": None}
    config = replace_options(stored, {**transient, **_with_implied_eval(given)})
    return replace(config, given=(stored.given - set(transient)) | set(given))


def stored_config(model_path: Path | None) -> TrainConfig:
    """Read the options of the run in a folder. Raises UserError where there is none."""
    if model_path is None:
        raise UserError("-m/--model_path: missing; the folder of a training run, for example -m output/id1")
    if not (model_path / CONFIG_NAME).is_file():
        what = "no such folder"
        if model_path.exists():
            found = f"holds no {CONFIG_NAME}" if model_path.is_dir() else "is a file"
            what = f"{found}; expected the folder of a training run"
        raise UserError(f"-m/--model_path {model_path}: {what}")
    return load_config(model_path / CONFIG_NAME)


def _with_implied_eval(given: dict[str, Any]) -> dict[str, Any]:
    """Turn --eval on where a number of held-out frames is given; --no-eval beside it is refused later."""
    return {"eval": True, **given} if given.get("test_frames") is not None else given
