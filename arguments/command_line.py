"""The command lines of train.py and render.py: flags built from the fields of `params.py`, and who wins over
whom. `scoring.py` and `preparation.py` build those of metrics.py and prepare.py by the same means.

Lowest first: defaults (the published method), `--preset`, `--is_debug`, rescaling by `--iterations`, the
flags that were given. With `--resume`, and in render.py, the stored config of the run takes the place of the
first four.
"""

import argparse
import difflib
import functools
import math
import sys
import types
import typing
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from arguments import presets
from arguments.config_file import load_config
from arguments.params import (
    RENDER_GROUPS,
    RETIRED,
    TRAIN_GROUPS,
    NetworkParams,
    Positive,
    RenderConfig,
    RenderParams,
    Seconds,
    StartParams,
    TrainConfig,
)
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


# --- argparse -----------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are UserErrors: one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


def build_parser(program: str, usage: str, description: str, groups: dict[str, type]) -> Parser:
    """Make a parser whose flags are the fields of the groups; flags that are not given leave no trace."""
    # A switch before an argument that is known by its place must not take it for its True or False.
    takes_value = all(
        spelling(option).startswith("-") for group in groups.values() for option in fields(group)
    )
    switch = "--quiet, --no-quiet and --quiet True|False" if takes_value else "--quiet and --no-quiet"
    parser = Parser(
        program,
        usage=f"{usage} [options]",
        description=description,
        formatter_class=functools.partial(argparse.HelpFormatter, max_help_position=34, width=110),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        epilog=f"A switch works as {switch}. "
        + "What is marked * follows --iterations unless given itself." * (groups is TRAIN_GROUPS),
    )
    for title, description, options in help_sections(groups):
        section = parser.add_argument_group(title, description)
        for option, group in options:
            is_inherited = groups is RENDER_GROUPS and group is not RenderParams
            _add_flag(section, option, is_inherited, takes_value)
    return parser


def help_sections(groups: dict[str, type]) -> list[tuple[str, str, list[tuple[Field, type]]]]:
    """Title, description and options of every section of --help; the last one holds the experiments."""
    sections, experiments = [], []
    for group in groups.values():
        title, _, description = group.__doc__.partition("\n")[0].partition(": ")
        options = [(option, group) for option in fields(group)]
        experiments += [pair for pair in options if pair[0].metadata["is_experiment"]]
        usual = [pair for pair in options if not pair[0].metadata["is_experiment"]]
        sections.append((title, description[:1].upper() + description[1:], usual))
    if experiments:
        sections.append(
            ("Experiments", "Test the paper's own claims; nobody needs them for an avatar.", experiments)
        )
    return sections


def spelling(option: Field) -> str:
    """How an option is written on the command line."""
    return option.metadata["flag"] or f"--{option.name}"


def _add_flag(section, option: Field, is_inherited: bool, takes_value: bool) -> None:
    names = [spelling(option)]
    if option.metadata["short"]:
        names.insert(0, f"-{option.metadata['short']}")
    help, kind = _help(option, is_inherited), option.type
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if not names[0].startswith("-"):
        section.add_argument(*names, nargs="?", type=_CONVERTERS[kind][0], default=None, help=help)
    elif kind is bool:
        value = {"nargs": "?", "const": True, "type": _boolean, "metavar": "True|False"}
        section.add_argument(*names, **(value if takes_value else {"action": "store_true"}), help=help)
        section.add_argument(
            f"--no-{option.name}", action="store_false", dest=option.name, help=argparse.SUPPRESS
        )
    elif typing.get_origin(kind) is tuple:
        convert, metavar = _CONVERTERS[typing.get_args(kind)[0]]
        section.add_argument(*names, nargs="+", action=_List, convert=convert, metavar=metavar, help=help)
    else:
        convert, metavar = _CONVERTERS[kind]
        choices, metavar = option.metadata["choices"] or None, option.metadata["metavar"] or metavar
        alone = option.metadata["alone"]
        section.add_argument(
            *names,
            dest=option.name,
            type=convert,
            choices=choices,
            metavar=None if choices else metavar,
            help=help,
            **({} if alone is None else {"nargs": "?", "const": alone}),
        )


class _List(argparse.Action):
    """Values with blanks or, numbers only, commas between them; iteration numbers are sorted. Paths of a flag
    that is given again are added."""

    def __init__(self, *args, convert, **kwargs):
        super().__init__(*args, **kwargs)
        self._convert = convert

    def __call__(self, parser, namespace, values, option_string=None):
        if self._convert in (_integer, _number):
            values = [word for value in values for word in value.split(",") if word]
        try:
            items = [self._convert(value) for value in values]
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        if self._convert is _path:
            items = [*getattr(namespace, self.dest, ()), *items]
        setattr(namespace, self.dest, tuple(sorted(set(items)) if self._convert is _integer else items))


# Every frame is rendered once, so nothing is kept: flags of train.py that render.py only accepts.
_NO_EFFECT = dict.fromkeys(("data_device", "cache_gb"), "no effect here")


def _help(option: Field, is_inherited: bool) -> str:
    """Write the help line: meaning, unit, default, what presets make of it, and * for a milestone."""
    text, unit, shown, is_milestone = (option.metadata[key] for key in ("help", "unit", "shown", "rescaled"))
    if option.name == "preset":
        text += f": {', '.join(presets.PRESETS)}"
    default = {"model_path": "required", **_NO_EFFECT}.get(option.name, "as in training")
    if not is_inherited:
        changes = [
            f"{k}: {shown_value(v[option.name])}" for k, v in presets.PRESETS.items() if option.name in v
        ]
        default = "; ".join([shown or shown_value(option.default), *changes])
    return f"{text}{f' [{unit}]' if unit else ''} (default: {default}){' *' if is_milestone else ''}"


def shown_value(value: Any) -> str:
    """A value as help and docs show it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected True or False, found '{text}'")
    return words[text.lower()]


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, found '{text}'") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return value


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found nothing")
    return Path(text).expanduser()


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def _seconds(text: str) -> float:
    minutes, _, seconds = text.rpartition(":")
    try:
        value = 60 * int(minutes or 0) + float(seconds)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds or minutes:seconds, found '{text}'")
    return value


_CONVERTERS = {
    int: (_integer, "N"),
    float: (_number, "X"),
    Positive: (_positive, "X"),
    Seconds: (_seconds, "T"),
    Path: (_path, "PATH"),
    str: (str, "NAME"),
}


def parse_flags(parser: Parser, argv: list[str] | None, groups: dict[str, type]) -> dict[str, Any]:
    """Return the options that were given, and their values. Raises UserError."""
    namespace, unknown = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if unknown:
        word = next((u for u in unknown if u.startswith("-")), unknown[0])
        if not word.startswith("-"):
            raise UserError(f"unexpected argument '{word}'; see --help")
        if word.partition("=")[0].removeprefix("--") in RETIRED:
            raise UserError(f"{word}: no such option any more; it brought nothing, see docs/experiments.md")
        known = [spelling(option) for group in groups.values() for option in fields(group)]
        close = difflib.get_close_matches(word.partition("=")[0], known, n=1)
        raise UserError(
            f"{word}: no such option; " + (f"did you mean {close[0]}?" if close else "see --help")
        )
    return vars(namespace)
