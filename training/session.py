"""A training run as the loop of train.py sees it: views to learn from, reports, scores, files, the end.

`training.start.begin` makes one. Nothing here decides when something happens: train.py does.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from arguments import TrainConfig
from rendering.export import save_point_cloud
from rendering.views import FrameViews
from scene.avatar import MOTION_FRAMES, Avatar, neutral_expression, save_avatar, typical_camera
from scene.dataset import FrameDataset
from scene.dataset_readers import Clip, Split
from scene.head_model import GaussianHead
from scene.views import HeadView
from training.augmentation import Augmentation
from training.captured_step import CapturedStep
from training.evaluation import evaluate
from training.health import Health
from training.loss import TrainingLoss
from training.run_folder import RunFolder
from training.state import TrainingState
from training.step import StepResult, TrainingStep
from utils.device import describe
from utils.errors import WriteError
from utils.metrics import psnr
from utils.progress import Progress

if TYPE_CHECKING:
    from training.live_view import LiveView

# Iterations between two looks at the loss: each one waits for the GPU.
REPORT_INTERVAL = 10
PREFETCHED_FRAMES = 8


class TrainingData(NamedTuple):
    """A clip and what of it trains."""

    clip: Clip
    split: Split
    background: Tensor  # [3]
    train: FrameDataset
    # Opens other frames of the clip, by their positions in it.
    open_frames: Callable[[tuple[int, ...]], FrameDataset]


class Session:
    """One run. As a context manager it takes Ctrl-C and SIGTERM and closes files; saves nothing by itself."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        state: TrainingState,
        loss: TrainingLoss,
        augmentation: Augmentation,
        folder: RunFolder,
        can_capture: bool,
    ) -> None:
        self.config, self.data, self.state, self.folder = config, data, state, folder
        self.augmentation = augmentation
        self.step = CapturedStep(TrainingStep(state, loss, config), state.head, can_capture)
        self.health = Health(state, folder.warn, self.step.forget)
        # Set by Ctrl-C and SIGTERM.
        self.interruption = threading.Event()
        self._signal: int = signal.SIGINT
        self._psnr: float | None = None
        self._saved_at: int | None = None
        self._live = self._live_view() if config.run.viewer else None

    def _live_view(self) -> "LiveView":
        # Only now: what serves pages takes a while to import.
        from training.live_view import LiveView

        name, port, log = self.folder.path.name, self.config.run.viewer_port, self.folder.log
        return LiveView(name, port, self._avatar(self.state.head), log)

    def __enter__(self) -> "Session":
        # Backward passes in this thread: handing them to autograd's own costs more than it gives.
        torch.autograd.set_multithreading_enabled(False)
        self._previous_handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._interrupt)
        last, first = self.config.optimization.iterations, self.state.iteration
        self._progress = Progress(last, "training", initial=first, quiet=self.folder.quiet)
        if self._live is not None:
            self._live.__enter__()
        self._clock = time.perf_counter() - self.state.seconds
        self._saved_when = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.__exit__(*exception)
        self._progress.close()
        self.folder.close()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, signal_number, frame) -> None:
        """Ctrl-C or SIGTERM ends the run between two iterations, where its state is whole; a second one at
        once."""
        self._signal = signal_number
        if self.interruption.is_set():
            raise self._ending()
        self.interruption.set()

    def _ending(self) -> BaseException:
        """What ends a run that a signal stopped: with exit code 130 or 143, as shells count them."""
        return KeyboardInterrupt() if self._signal == signal.SIGINT else SystemExit(128 + self._signal)

    @property
    def is_out_of_time(self) -> bool:
        """Whether --max_minutes are over."""
        return 0 < 60 * self.config.run.max_minutes < self.state.seconds

    @property
    def is_time_to_save(self) -> bool:
        """Whether --save_minutes have passed since the last checkpoint, or since it was tried."""
        minutes = self.config.run.save_minutes
        return 0 < 60 * minutes < time.monotonic() - self._saved_when

    def next_views(self) -> list[HeadView]:
        """The next training frames, decoded ahead of time, as the options ask for them."""
        state, frames = self.state, self.data.train
        num = self.config.optimization.views_per_step
        frames.prefetch(state.sampler.upcoming(num + PREFETCHED_FRAMES))
        chosen = [frames[state.sampler.next()] for _ in range(num)]
        return self.augmentation(chosen, state.iteration, state.generator)

    def report(self, result: StepResult, views: Sequence[HeadView]) -> None:
        """Show how it goes. Raises UserError where it can go on no more, see training/health.py."""
        iteration, head = self.state.iteration, self.state.head
        self.health.watch([view.image_id for view in views])
        self.state.seconds = time.perf_counter() - self._clock
        if iteration % REPORT_INTERVAL and iteration != 1:
            self._progress.update()
            return
        self.health.check()
        loss = float(result.loss)
        if not np.isfinite(loss):
            # Its step was skipped.
            self._progress.update()
            return
        current = float(psnr(result.images, torch.stack([view.truth for view in views])).mean())
        self._psnr = current if self._psnr is None else 0.9 * self._psnr + 0.1 * current
        num = len(head.gaussians)
        self._progress.update(1, loss=loss, PSNR=self._psnr, Gaussians=num)
        values = dict(loss=loss, psnr=self._psnr, num_gaussians=num)
        self.folder.record_step(iteration, self.state.seconds, **values)

    def show(self) -> None:
        """Draw for the pages that look on (--viewer), and wait while one of them holds the run."""
        if self._live is None:
            return
        state, last = self.state, self.config.optimization.iterations
        report = dict(iteration=state.iteration, iterations=last, gaussians=len(state.head.gaussians))
        if self._psnr is not None:
            report |= dict(psnr=round(self._psnr, 2))
        # Time that somebody took to look is none of the training.
        self._clock += self._live.show(lambda: self._avatar(state.head), self.interruption.is_set, **report)

    def evaluate(self) -> dict[str, str]:
        """Score the held-out frames, or a few training frames where there are none; a line for each set."""
        split, state, config = self.data.split, self.state, self.config
        sets = {"val": split.val, "test": split.test}
        if not split.val and not split.test:
            sets = {"train": split.train[:: max(1, len(split.train) // 5)]}
        head, lines = state.head_to_use(), {}
        for name, indices in sets.items():
            if indices:
                views = FrameViews(self.data.open_frames(indices), self.data.background, config.network)
                result = evaluate(head, views, config.pipeline, name=name, quiet=self.folder.quiet)
                record = self.folder.record_evaluation
                self._try(partial(record, name, state.iteration, state.seconds, result))
                lines[name] = f"PSNR {result.mean('psnr'):.2f} dB  SSIM {result.mean('ssim'):.4f}"
        self._try(self.folder.save_curves)
        return lines

    def save_checkpoint(self, is_passing: bool = False) -> None:
        """What --resume goes on from. Where it cannot be written a line says so, and training goes on."""
        self._try(lambda: self._write_checkpoint(is_passing))

    def save(self) -> None:
        """Checkpoint, model for use and PLY of the current iteration; fails as `save_checkpoint` does."""
        self._try(self._write_all)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (WriteError, OSError) as error:
            what = "not saved, what was saved before is whole; training goes on to the next save"
            self.folder.warn(f"[iteration {self.state.iteration}] {error}: {what}")

    def _write_checkpoint(self, is_passing: bool = False) -> None:
        # What is not finite takes no good checkpoint's place.
        self.health.check()
        # A disk that is full now is not asked at every iteration.
        self._saved_when = time.monotonic()
        iteration, names = self.state.iteration, self.data.clip.expression_names
        self.state.save(self.folder.checkpoint(iteration), names, is_passing)
        self.folder.forget_passing_checkpoints(before=iteration)

    def _write_all(self) -> None:
        iteration, folder = self.state.iteration, self.folder
        if self._saved_at == iteration:
            return
        head = self.state.head_to_use()
        self._write_checkpoint()
        avatar = self._avatar(head)
        save_avatar(avatar, folder.model(iteration))
        self._saved_at = iteration
        neutral, cameras = avatar.neutral_expression, self.data.train.cameras
        baked = save_point_cloud(folder.point_cloud(iteration), head, neutral, cameras, avatar.background)
        folder.log(f"[iteration {iteration}] saved {folder.model(iteration)}")
        agreement = f"to {baked:.1f} dB" if np.isfinite(baked) else "exactly"
        folder.log(f"PLY of the neutral face: baked SH agree with the avatar {agreement}")

    def _avatar(self, head: GaussianHead) -> Avatar:
        """A head of this run with what it needs without the clip."""
        return replace(self._avatar_of_clip, head=head, iteration=self.state.iteration)

    @cached_property
    def _avatar_of_clip(self) -> Avatar:
        """What stays the same of the avatar."""
        data, clip = self.data, self.data.clip
        expressions = np.stack([record.expression for record in data.train.records])
        return Avatar(
            self.state.head,
            neutral_expression(expressions, clip.expression_names).to(data.background.device),
            clip.expression_names,
            typical_camera(data.train.cameras),
            data.background,
            self.state.iteration,
            motion=self._motion().to(data.background.device),
            picture_size=(clip.width, clip.height),
            clip_digest=clip.digest,
        )

    def _motion(self) -> Tensor:
        """What the avatar plays without the clip: expressions [F, E] of held-out frames, else of others."""
        indices = (self.data.split.test or self.data.split.train)[:MOTION_FRAMES]
        return torch.from_numpy(np.stack([self.data.clip.frames[i].expression for i in indices]))

    def finish(self) -> None:
        """Save what there is and score it; after Ctrl-C or SIGTERM say how to go on and end with 130 or 143.

        Raises WriteError where the last save fails.
        """
        state, log, last = self.state, self.folder.log, self.config.optimization.iterations
        if self.is_out_of_time and state.iteration < last:
            log(f"--max_minutes is over at iteration {state.iteration} of {last}")
        self._write_all()
        if self.interruption.is_set():
            log(f"interrupted at iteration {state.iteration} and saved; go on with --resume")
            raise self._ending()
        for name, line in self.evaluate().items():
            if self.folder.quiet:
                print(f"{name}: {line}")
        self._try(self.folder.draw_curves)
        device = describe(self.data.background.device)
        if self.health.num_skipped:
            log(f"{self.health.num_skipped} steps were skipped: their loss or a gradient was not finite")
        num, minutes = len(state.head.gaussians), state.seconds / 60
        log(f"{state.iteration} iterations in {minutes:.1f} minutes, {num} Gaussians, {device}")
