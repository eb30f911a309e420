"""A training run from its options to its results: everything around the loop of train.py.

`Session` reads the data, makes or resumes the state, plans the schedule, hands out frames, and reports,
evaluates and saves when the schedule says so. At the end, also after Ctrl-C, it saves what there is.
"""

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from arguments import TrainConfig, rescale_schedule
from diff_gaussian_rasterization import cuda
from scene.avatar import Avatar, neutral_expression, save_avatar, typical_camera
from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip, split_clip
from scene.optimization import schedules
from training import planning
from training.captured_step import CapturedStep, StepResult
from training.device import check_free_memory, choose_device, describe
from training.evaluation import evaluate
from training.export import save_cameras, save_initial_points, save_point_cloud
from training.loss import TrainingLoss
from training.run_folder import RunFolder
from training.start import open_frames, side_views_of, signal_spread, starting_state, torso_notice
from training.training_view import TrainingView, on_background, signal_noise
from utils.errors import UserError
from utils.metrics import psnr
from utils.progress import Progress

REPORT_INTERVAL = 10  # iterations between two looks at the loss: each one waits for the GPU
PREFETCHED_FRAMES = 8


class Session:
    """One run; a context manager around the training loop."""

    def __init__(self, config: TrainConfig) -> None:
        self.device = choose_device(config.run.device)
        clip = read_clip(config.model.source_path, config.model.only_head)
        self.clip = clip
        self.background = torch.full((3,), float(config.model.white_background), device=self.device)
        self.pipeline = config.pipeline
        self.loss = TrainingLoss(config.optimization).to(self.device)
        m = config.model
        self.split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
        self.config = config
        self.train_frames = self._frames(self.split.train)
        self.cameras = self.train_frames.cameras
        check_free_memory(self.device)

        torch.autograd.set_detect_anomaly(config.run.detect_anomaly)
        self.state = starting_state(config, clip, self.train_frames, self.device)
        p, frames = config.optimization, self.train_frames
        self.side_views = side_views_of(frames, config.run.seed) if p.lambda_outside else None
        self.signal_spread = signal_spread(self.state.head, frames) if p.expression_noise else None
        self.folder = RunFolder(config)
        self.log = self.folder.log
        self._announce()
        if self.state.iteration:
            self.folder.continue_curves(self.state.iteration)
        elif config.run.max_minutes:
            self._plan()
        save_cameras(
            self.folder.path / "cameras.json",
            self.cameras,
            [str(clip.frames[i].image_id) for i in self.split.train],
        )
        if not self.state.iteration:
            save_initial_points(self.folder.path / "input.ply", self.state.head.gaussians)
        self._saved_at: int | None = None
        self._psnr: float | None = None
        self._progress: Progress | None = None

    def __enter__(self) -> "Session":
        # Ctrl-C ends the run between two iterations, where its state is whole; a second one ends it at once.
        self._stops = threading.Event()
        # Backward passes in this thread: handing them to autograd's own costs more than it gives.
        torch.autograd.set_multithreading_enabled(False)
        self._previous_handler = None
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            is_interrupted = self._stops.is_set()
            self._save(is_final=not is_interrupted)
            if is_interrupted:
                self.log(f"interrupted at iteration {self.state.iteration} and saved; go on with --resume")
        self.folder.close()
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
        if kind is None and is_interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, signal_number, frame) -> None:
        if self._stops.is_set():
            raise KeyboardInterrupt
        self._stops.set()

    # --- what the training loop asks for

    def iterations(self) -> Iterator[int]:
        """Count from where the state is to the end of the schedule, or of the time."""
        last = self.config.optimization.iterations
        deadline = 60 * self.config.run.max_minutes or float("inf")
        with Progress(
            last, "training", initial=self.state.iteration, quiet=self.folder.quiet
        ) as self._progress:
            self._clock = time.perf_counter() - self.state.seconds
            for iteration in range(self.state.iteration + 1, last + 1):
                yield iteration
                self.state.iteration = iteration
                self.state.seconds = time.perf_counter() - self._clock
                if self._stops.is_set():
                    return
                self._after(iteration)
                if self.state.seconds > deadline:
                    self.log(f"--max_minutes is over at iteration {iteration} of {last}")
                    return

    def next_view(self) -> TrainingView:
        """A training frame, decoded ahead of time, as the options ask for it."""
        state, p = self.state, self.config.optimization
        self.train_frames.prefetch(state.sampler.upcoming(PREFETCHED_FRAMES))
        position = state.sampler.next()
        frame = self.train_frames[position]
        camera, image, background, noise = frame.camera, frame.image, self.background, None
        if state.poses is not None:
            camera = camera.posed(state.poses(position, camera.world_to_camera))
        if p.expression_noise:
            noise = signal_noise(self.signal_spread, p.expression_noise, state.generator)
        if p.random_background:
            background = torch.rand(3, generator=state.generator).to(self.device, non_blocking=True)
            image = on_background(frame, self.background, background)
        head_pose = camera.world_to_camera
        view = TrainingView(camera, frame.expression, head_pose, frame.torso, noise, image, background)
        return self._with_side(view, state.iteration)

    def _with_side(self, view: TrainingView, number: int) -> TrainingView:
        """The view with one of the side views, in turn, where there are any."""
        sides = self.side_views
        if sides is None:
            return view
        number %= len(sides.poses)
        return view._replace(side_pose=sides.poses[number], outside=sides.outside[number])

    def captured(self, optimize: Callable[["Session", TrainingView, bool], StepResult]) -> CapturedStep:
        """A training step, replayed from a CUDA graph where it can be."""
        return CapturedStep(functools.partial(optimize, self), self.state.head, self._can_capture())

    def _can_capture(self) -> bool:
        run = self.config.run
        looks_at_values = run.detect_anomaly or self.config.pipeline.debug or self.state.poses is not None
        return run.cuda_graph and not looks_at_values and cuda.is_available(self.device)

    def report(self, iteration: int, loss: Tensor, image: Tensor, truth: Tensor) -> None:
        """Show how it goes. Raises UserError where the loss is no number any more."""
        if iteration % REPORT_INTERVAL and iteration != 1:
            self._progress.update()
            return
        value = float(loss.detach())
        parameters = dict(self.state.head.named_parameters())
        are_finite = torch.stack([p.isfinite().all() for p in parameters.values()]).tolist()
        broken = [name for name, is_finite in zip(parameters, are_finite) if not is_finite]
        if broken or not np.isfinite(value):
            raise UserError(
                f"iteration {iteration}: the loss is {value}, not finite: {', '.join(broken) or 'it alone'}; "
                "stopped without saving; lower the learning rates or look for the cause with --detect_anomaly"
            )
        current = float(psnr(image.detach(), truth))
        self._psnr = current if self._psnr is None else 0.9 * self._psnr + 0.1 * current
        num_gaussians = len(self.state.head.gaussians)
        self._progress.update(1, loss=value, PSNR=self._psnr, Gaussians=num_gaussians)
        seconds = time.perf_counter() - self._clock
        self.folder.record_step(iteration, seconds, loss=value, psnr=self._psnr, num_gaussians=num_gaussians)

    # --- milestones

    def _after(self, iteration: int) -> None:
        run = self.config.run
        is_last = iteration == self.config.optimization.iterations
        if iteration in run.test_iterations and not is_last:
            self._evaluate()
        if iteration in run.save_iterations and not is_last:
            self._save(is_final=False)
        elif iteration in run.checkpoint_iterations:
            self.state.save(self.folder.checkpoint(iteration))

    def _evaluate(self, *, is_final: bool = False) -> None:
        """Score the held-out frames, or a few training frames where none are held out."""
        sets = {"val": self.split.val, "test": self.split.test}
        if not self.split.val and not self.split.test:
            sets = {"train": self.split.train[:: max(1, len(self.split.train) // 5)]}
        state, head = self.state, self.state.head_to_use()
        for name, indices in sets.items():
            if indices:
                frames = self._frames(indices)
                result = evaluate(
                    head,
                    frames,
                    self.background,
                    self.pipeline,
                    torso_is_given=self.config.network.torso_tracking,
                    name=name,
                    quiet=self.folder.quiet,
                )
                self.folder.record_evaluation(name, state.iteration, state.seconds, result)
                if is_final and self.folder.quiet:
                    print(f"{name}: PSNR {result.mean('psnr'):.2f} dB  SSIM {result.mean('ssim'):.4f}")
        self.folder.save_curves()

    def _save(self, *, is_final: bool) -> None:
        """Checkpoint, model for use and PLY of the current iteration; with the scores, at the end."""
        state, iteration = self.state, self.state.iteration
        if self._saved_at == iteration:
            return
        head = state.head_to_use()
        state.save(self.folder.checkpoint(iteration))
        expressions = np.stack([self.clip.frames[i].expression for i in self.split.train])
        neutral = neutral_expression(expressions, self.clip.expression_names).to(self.device)
        avatar = Avatar(
            head,
            neutral,
            self.clip.expression_names,
            typical_camera(self.cameras),
            self.background,
            iteration,
        )
        save_avatar(avatar, self.folder.model(iteration))
        self._saved_at = iteration
        baked = save_point_cloud(
            self.folder.point_cloud(iteration), head, neutral, self.cameras, self.background
        )
        self.log(f"[iteration {iteration}] saved {self.folder.model(iteration)}")
        self.log(f"PLY of the neutral face: baked SH agree with the avatar to {baked:.1f} dB")
        if is_final:
            self._evaluate(is_final=True)
            self.log(
                f"{iteration} iterations in {state.seconds / 60:.1f} minutes, "
                f"{len(state.head.gaussians)} Gaussians, {describe(self.device)}"
            )

    # --- the start

    def _frames(self, indices: tuple[int, ...]) -> FrameDataset:
        return open_frames(self.config, self.clip, indices, self.background, self.device)

    def _announce(self) -> None:
        config, clip, split, camera = self.config, self.clip, self.split, self.cameras[0]
        for note in (*config.notes, *clip.notes, self.loss.notice, torso_notice(config, clip)):
            if note:
                self.log(note)
        self.log(
            f"{clip.root}: {len(split.train)} training, {len(split.val)} validation, {len(split.test)} "
            f"held-out frames of {camera.width} x {camera.height}, "
            f"{len(clip.frames[0].expression)} expression coefficients"
        )
        self.log(f"preset {config.run.preset} on {describe(self.device)}")

    def _plan(self) -> None:
        """Fit the schedule to --max_minutes by measuring a head as heavy as the final one."""
        config, frame = self.config, self.train_frames[0]
        pose = frame.camera.world_to_camera
        view = TrainingView(
            frame.camera, frame.expression, pose, frame.torso, None, frame.image, self.background
        )
        view = self._with_side(view, 0)
        head = planning.grown(self.state.head, config.optimization.max_gaussians)
        optimize = planning.training_step(head, config, self.loss)
        step = CapturedStep(optimize, head, self._can_capture())
        seconds = planning.seconds_per_step(lambda: step(view, False), self.device)
        iterations = planning.plan_iterations(seconds, config.run.max_minutes)
        config, changes = rescale_schedule(config, iterations)
        self.log(
            f"{iterations} iterations fit into --max_minutes {config.run.max_minutes:g} "
            f"at {1e3 * seconds:.1f} ms each: {', '.join(changes)}"
        )
        self.config = replace(config, notes=())
        self.state.optimizer.rates = schedules(config.optimization)
        self.state.densifier.params = config.optimization
        self.folder.store_config(config)
