"""Checks of option values, one by one and against each other; every refusal is one line that names the
flag."""

import math
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from arguments.params import (
    ModelParams,
    NetworkParams,
    OptimizationParams,
    StartParams,
    TrainConfig,
)
from arguments.presets import PRESETS
from arguments.rendering import RenderConfig
from utils.errors import UserError
from utils.files import why_not_writable


def check_ranges(group: Any, where: str = "--") -> None:
    """Refuse values out of range in one group of options; `where` is written before the option's name."""
    for option in fields(group):
        value = getattr(group, option.name)
        for item in value if isinstance(value, tuple) else (value,):
            _check_range(option, item, where)


def _check_range(option, value, where: str) -> None:
    low, high, short = (option.metadata[key] for key in ("low", "high", "short"))
    name = f"-{short}/--{option.name}" if short and where == "--" else f"{where}{option.name}"
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} {value}: expected a finite number")
    if value is not None and low is not None and value < low:
        raise UserError(f"{name} {value}: must be at least {low:g}")
    if value is not None and high is not None and value > high:
        raise UserError(f"{name} {value}: must be at most {high:g}")
    if option.name in ("device", "data_device") and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise UserError(f"{name} {value}: expected auto, cpu, cuda or cuda:N")
    if option.name == "preset":
        check_preset(value, name)
    if option.name == "resolution" and (value in (0, *range(3, 16)) and value not in (4, 8)):
        raise UserError(
            f"{name} {value}: expected 1, 2, 4 or 8 to divide the size, a width of 16 or more, or -1"
        )


def check_preset(preset: str, where: str = "--preset") -> None:
    """Refuse an unknown preset."""
    if preset not in PRESETS:
        raise UserError(f"{where} {preset}: expected one of {', '.join(PRESETS)}")


def check_model(model: ModelParams, network: NetworkParams) -> None:
    """Refuse sizes of the model that do not fit together."""
    if network.triplane_channels % network.num_derivations:
        raise UserError(
            f"--num_derivations {network.num_derivations}: must divide --triplane_channels "
            f"{network.triplane_channels} (each derivation reads its own block of channels)"
        )
    if model.test_frames is not None and not model.eval:
        raise UserError(
            f"--test_frames {model.test_frames}: contradicts --no-eval, which trains on every frame"
        )


def check_optimization(optimization: OptimizationParams, start: StartParams) -> None:
    """Refuse learning rates and limits that do not fit together."""
    for name in ("position", "deformation", "triplane", "tau"):
        first, last = getattr(optimization, f"{name}_lr_init"), getattr(optimization, f"{name}_lr_final")
        if (first == 0) != (last == 0):
            raise UserError(
                f"--{name}_lr_final {last:g}: must be 0 if and only if --{name}_lr_init is ({first:g}); "
                "rates between them fall exponentially"
            )
    if 0 < optimization.max_gaussians < start.initial_gaussians:
        raise UserError(
            f"--max_gaussians {optimization.max_gaussians}: must be at least --initial_gaussians "
            f"{start.initial_gaussians}, or 0 for no limit"
        )


def check_run(config: TrainConfig) -> None:
    """Refuse a run whose input is not there or whose output would mix with that of another run."""
    model, run = config.model, config.run
    if run.resume and run.overwrite:
        raise UserError("--overwrite: contradicts --resume, which goes on with what is in --model_path")
    check_source(model.source_path)
    if run.start_checkpoint is not None and not run.start_checkpoint.is_file():
        raise UserError(f"--start_checkpoint {run.start_checkpoint}: no such file")
    vgg_weights = config.optimization.vgg_weights
    if vgg_weights is not None and not vgg_weights.is_file():
        raise UserError(f"--vgg_weights {vgg_weights}: no such file")
    _check_output(model.model_path, run)


PATHS = ("swing", "orbit", "spiral")


def check_render(config: RenderConfig) -> None:
    """Refuse ways to look at an avatar that contradict each other, and files that are not there."""
    render = config.render
    path, driving = render.path, render.driving
    if path is not None and path not in PATHS:
        if not path.endswith(".json"):
            raise UserError(f"--path {path}: expected {', '.join(PATHS)}, or a .json of cameras")
        if not Path(path).is_file():
            raise UserError(f"--path {path}: no such file")
    if driving is not None and not driving.exists():
        raise UserError(f"--driving {driving}: no such file or folder")
    if render.audio_model is not None and not render.audio_model.is_file():
        raise UserError(f"--audio_model {render.audio_model}: no such file; expected an ONNX model")
    others = {"--expression": render.expression, "--audio": render.audio, "--driving": driving}
    names = [name for name, value in others.items() if value is not None]
    if "source_path" in config.given:
        names.append("-s/--source_path")
    if len(names) > 1 and set(names) & set(others):
        raise UserError(f"{names[0]} and {names[1]}: both say what the face does; expected one of them")
    if render.driving_pose and driving is None:
        raise UserError("--driving_pose: only goes with --driving")
    if render.driving_pose and render.camera_path:
        raise UserError("--driving_pose: contradicts --novel_view and --path, which move the camera")
    if driving is None and "driving_angles" in config.given:
        raise UserError("--driving_angles: only goes with --driving")
    for name in ("audio_model", "head_motion", "audio_seed"):
        if render.audio is None and name in config.given:
            raise UserError(f"--{name}: only goes with --audio")
    if render.camera_path and "head_motion" in config.given:
        raise UserError("--head_motion: contradicts --novel_view and --path, which move the camera")
    if "video_format" in config.given and not render.transparent:
        raise UserError("--video_format: only goes with --transparent")


def check_source(source_path: Path | None) -> None:
    """Refuse a missing clip."""
    if source_path is None:
        raise UserError("-s/--source_path: missing; the folder of the clip, for example -s data/demo")
    if not source_path.is_dir():
        what = "is a file; expected a folder" if source_path.is_file() else "no such folder"
        raise UserError(f"-s/--source_path {source_path}: {what}")


def check_writable(model_path: Path) -> None:
    """Refuse a folder for results into which, or into whose parts, nothing can be written."""
    for folder in (model_path, model_path / "checkpoints", model_path / "model", model_path / "eval"):
        if reason := why_not_writable(folder):
            raise UserError(f"-m/--model_path {model_path}: {reason}")


def _check_output(model_path: Path, run) -> None:
    if os.path.lexists(model_path) and not model_path.is_dir():
        raise UserError(f"-m/--model_path {model_path}: is a file; expected a folder for the results")
    check_writable(model_path)
    if not model_path.is_dir() or run.resume:
        return
    if any(model_path.iterdir()) and not run.overwrite:
        raise UserError(
            f"-m/--model_path {model_path}: not empty; go on with --resume or replace it with --overwrite"
        )
    if run.start_checkpoint is not None and model_path.resolve() in run.start_checkpoint.resolve().parents:
        raise UserError(
            f"--start_checkpoint {run.start_checkpoint}: lies in the folder that --overwrite replaces; "
            "use --resume or another --model_path"
        )
