"""The folder of a run: where each file goes, the log, the curves.

config.json, train.log, cameras.json, input.ply, results.json, per_view.json     as in the 3DGS family
checkpoints/iteration_N.safetensors      to resume
model/iteration_N.safetensors            to use
point_cloud/iteration_N/point_cloud.ply  for splat viewers
eval/                                    contact sheets and curves
"""

import contextlib
import json
import re
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from arguments import CONFIG_NAME, TrainConfig, save_config
from training.evaluation import Evaluation
from utils.checkpoint import iteration_path, list_iterations, load_metadata
from utils.errors import UserError
from utils.files import remove_leftovers
from utils.images import write_png
from utils.json_files import update_json, write_json
from utils.locks import FolderLock
from utils.plots import LossPoint, ScorePoint, plot_training
from utils.versions import versions

# What --overwrite removes, beside what render.py drew; anything else in the folder is the user's.
OWN_FOLDERS = ("checkpoints", "model", "light", "point_cloud", "eval", "tensorboard")
_RENDERED = re.compile(r"(ours|light)_\d+")
# A run that is over sooner has its picture at the end.
SECONDS_BETWEEN_PICTURES = 30.0
OWN_FILES = ("train.log", "cameras.json", "input.ply", "results.json", "per_view.json")


class RunFolder:
    """Writes everything that a run leaves behind, and holds the folder until `close`.

    `quiet` silences the screen, not the log file. Raises UserError where another run holds the folder.
    """

    def __init__(self, config: TrainConfig, lock: FolderLock | None = None) -> None:
        self.path: Path = config.model.model_path
        self.quiet = config.run.quiet
        self._lock = lock or FolderLock()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.take(self.path)
        is_continued = config.run.resume or config.run.start_checkpoint is not None
        if config.run.overwrite and not is_continued:
            remove_run(self.path)
        for folder in (
            self.path,
            *(self.path / name for name in OWN_FOLDERS),
            *self.path.glob("point_cloud/*/"),
        ):
            remove_leftovers(folder)
        self.store_config(config)
        # Without a buffer: what a full disk refused is not tried again at the end.
        self._log_file = (self.path / "train.log").open("ab", buffering=0)
        self._curves_path = self.path / "eval" / "curves.json"
        self._curves: dict[str, list[dict]] = {"steps": [], "evaluations": []}
        self._drawn_at = time.monotonic()
        self._tensorboard = _tensorboard_writer(self.path / "tensorboard")

    def checkpoint(self, iteration: int) -> Path:
        return iteration_path(self.path / "checkpoints", iteration)

    def forget_passing_checkpoints(self, before: int) -> None:
        """Remove the checkpoints of iterations before one that only --save_minutes asked for."""
        for iteration in list_iterations(self.path / "checkpoints"):
            path = self.checkpoint(iteration)
            # What cannot be read is not ours to judge.
            with contextlib.suppress(UserError, OSError):
                if iteration < before and load_metadata(path).get("is_passing"):
                    path.unlink()

    def model(self, iteration: int) -> Path:
        return iteration_path(self.path / "model", iteration)

    def point_cloud(self, iteration: int) -> Path:
        return self.path / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"

    def log(self, message: str) -> None:
        """A line for the screen and train.log."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n"
        # On a full disk the screen has it.
        with contextlib.suppress(OSError):
            self._log_file.write(line.encode("utf-8", "surrogateescape"))

    def warn(self, message: str) -> None:
        """A line for the log and, whatever `quiet` says, for the screen."""
        if self.quiet:
            print(message, file=sys.stderr, flush=True)
        self.log(message)

    def store_config(self, config: TrainConfig) -> None:
        """Write config.json; again after the start, where a schedule was planned."""
        save_config(config, self.path / CONFIG_NAME, versions())

    def continue_curves(self, iteration: int) -> None:
        """Take up the curves of the run that is resumed, up to its iteration."""
        if self._curves_path.is_file():
            stored = json.loads(self._curves_path.read_text(encoding="utf-8"))
            self._curves = {
                name: [point for point in stored[name] if point["iteration"] <= iteration]
                for name in self._curves
            }

    def record_step(self, iteration: int, seconds: float, **values: float) -> None:
        """A point of the curves: loss, psnr and num_gaussians."""
        self._curves["steps"].append({"iteration": iteration, "seconds": seconds, **values})
        for name, value in values.items():
            self._scalar(f"train/{name}", value, iteration)

    def record_evaluation(self, name: str, iteration: int, seconds: float, result: Evaluation) -> None:
        """Scores into the log, the curves and the family's JSON files; the contact sheet into eval/."""
        means = {score: result.mean(score) for score in ("l1", "psnr", "ssim")}
        self._curves["evaluations"].append({"iteration": iteration, "seconds": seconds, "set": name, **means})
        for score, value in means.items():
            self._scalar(f"{name}/{score}", value, iteration)
        self.log(
            f"[iteration {iteration}] {name}: L1 {means['l1']:.4f}  PSNR {means['psnr']:.2f} dB  "
            f"SSIM {means['ssim']:.4f}  ({len(result.views)} frames)"
        )
        write_png(self.path / "eval" / f"{name}_{iteration}.png", result.sheet)
        if name == "test":
            key = f"ours_{iteration}"
            scores = {"L1": means["l1"], "PSNR": means["psnr"], "SSIM": means["ssim"]}
            update_json(self.path / "results.json", {key: scores})
            update_json(self.path / "per_view.json", {key: [asdict(view) for view in result.views]})

    def save_curves(self) -> None:
        """The curves as JSON, and as a picture where the last one is old: drawing it takes a second."""
        self._curves_path.parent.mkdir(exist_ok=True)
        write_json(self._curves_path, self._curves)
        if time.monotonic() - self._drawn_at > SECONDS_BETWEEN_PICTURES:
            self.draw_curves()

    def draw_curves(self) -> None:
        """The curves as a picture."""
        self._drawn_at = time.monotonic()
        steps, evaluations = self._curves["steps"], self._curves["evaluations"]
        losses = [LossPoint(p["seconds"] / 60, p["iteration"], p["loss"], p["num_gaussians"]) for p in steps]
        scores = [ScorePoint(p["seconds"] / 60, p["iteration"], "training views", p["psnr"]) for p in steps]
        scores += [ScorePoint(p["seconds"] / 60, p["iteration"], p["set"], p["psnr"]) for p in evaluations]
        plot_training(self.path / "eval" / "curves.png", losses, scores)

    def close(self) -> None:
        self._log_file.close()
        if self._tensorboard is not None:
            with contextlib.suppress(OSError):
                self._tensorboard.close()
        self._lock.release()

    def _scalar(self, tag: str, value: float, iteration: int) -> None:
        if self._tensorboard is None:
            return
        try:
            self._tensorboard.add_scalar(tag, value, iteration)
        except OSError as error:
            self.warn(f"{self.path / 'tensorboard'}: {error.strerror}; nothing more is written there")
            self._tensorboard = None


def remove_run(folder: Path) -> None:
    """Remove what training and rendering left in a run's folder, as --overwrite does."""
    rendered = [path for path in folder.glob("*/*/") if _RENDERED.fullmatch(path.name)]
    for path in (*(folder / name for name in OWN_FOLDERS), *rendered):
        if path.is_dir():
            shutil.rmtree(path)
    for parent in {path.parent for path in rendered}:
        # Not where the user keeps something there.
        with contextlib.suppress(OSError):
            parent.rmdir()
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)


def _tensorboard_writer(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder)
