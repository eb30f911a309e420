"""How a run begins: from its options to everything that the loop of train.py needs before the first step."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arguments import TrainConfig, on_scaffold, rescale_schedule
from diff_gaussian_rasterization import compile_ahead as compile_rasterizer_ahead
from diff_gaussian_rasterization import cuda
from rendering.export import save_cameras, save_initial_points
from scene.avatar import typical_camera
from scene.cameras import Camera
from scene.coefficients import matched
from scene.dataset import FrameDataset
from scene.dataset_readers import Clip, read_clip, split_clip
from scene.fused import compile_ahead
from scene.gaussian_model import GaussianModel
from scene.head_model import Architecture, GaussianHead
from scene.optimization import schedules
from scene.torso import fit_torso_map, head_motion, nearest_rigid
from training import planning
from training.augmentation import Augmentation
from training.inflation import points_on_surface
from training.loss import TrainingLoss
from training.on_scaffold.build import Start as ScaffoldStart
from training.on_scaffold.build import start_on_scaffold
from training.on_scaffold.fitted_head import FittedHead, find_fitted_head
from training.run_folder import RunFolder
from training.session import Session, TrainingData
from training.side_views import SideViews
from training.state import TrainingState
from utils.checkpoint import find_iteration, list_iterations, load_metadata
from utils.device import check_free_memory, choose_device, describe
from utils.errors import UserError
from utils.locks import FolderLock
from utils.sampling import evenly_spread
from utils.startup import seconds_since_start

# Of the published method.
MAX_CUBE_SIDE = 2.6
# Of the width in view: what is never seen is never learned.
VIEW_FRACTION = 1.1
# The typical one of so many frames says where the Gaussians start.
STARTING_FRAMES = 24


def begin(config: TrainConfig) -> Session:
    """Read the data, make or load the state, open the folder and plan the schedule.

    Raises UserError where data, options and checkpoint do not fit, or another run holds the folder; a new
    folder is made last.
    """
    lock = FolderLock()
    try:
        # Before a checkpoint is chosen that the other run may replace.
        if config.model.model_path.is_dir():
            lock.take(config.model.model_path)
        return _begin(config, lock)
    except BaseException:
        lock.release()
        raise


def _begin(config: TrainConfig, lock: FolderLock) -> Session:
    device = choose_device(config.run.device)
    # While the clip is read.
    compile_rasterizer_ahead(device)
    checkpoint = checkpoint_to_go_on_from(config)
    data = open_data(config, device, checkpoint)
    loss = TrainingLoss(config.optimization).to(device)
    check_free_memory(device)
    torch.autograd.set_detect_anomaly(config.run.detect_anomaly)

    fitted, without = fitted_head_of(config, data.clip, checkpoint)
    if fitted is not None and checkpoint is None:
        config = on_scaffold(config)
    scaffold_start = scaffold_start_on(fitted, config, data) if fitted is not None else None
    if checkpoint is None:
        state = fresh_state(config, data, device, scaffold_start)
    else:
        state = TrainingState.load(checkpoint, config, len(data.train), device)
    compile_ahead(state.head)
    augmentation = augmentation_for(config, data, state.head, scaffold_start)
    folder = RunFolder(config, lock)
    for note in (*config.notes, *data.clip.notes, without, loss.notice, *described(config, data, device)):
        if note:
            folder.log(note)
    can_capture = can_be_captured(config, device)
    if state.iteration:
        folder.continue_curves(state.iteration)
    elif config.run.max_minutes:
        frames = [data.train[0]] * config.optimization.views_per_step
        views = augmentation(frames, 0, torch.Generator())
        seconds = planning.seconds_per_iteration(config, state.head, loss, views, can_capture)
        config = planned(config, seconds, folder)
        state.optimizer.rates = schedules(config.optimization)
        state.densifier.params = config.optimization
    names = [str(record.image_id) for record in data.train.records]
    save_cameras(folder.path / "cameras.json", data.train.cameras, names)
    if not state.iteration:
        save_initial_points(folder.path / "input.ply", state.head.gaussians)
    folder.log(f"start-up took {seconds_since_start():.1f} s")
    return Session(config, data, state, loss, augmentation, folder, can_capture)


def checkpoint_to_go_on_from(config: TrainConfig) -> Path | None:
    """The file that the options name, if they name one. Raises UserError where a run has none yet."""
    if config.run.start_checkpoint is not None or not config.run.resume:
        return config.run.start_checkpoint
    folder = config.model.model_path / "checkpoints"
    if not list_iterations(folder):
        raise UserError(
            f"--resume: {config.model.model_path} holds no checkpoint: the run ended before its first one; "
            "begin anew by --overwrite in the place of --resume"
        )
    return find_iteration(folder)


def open_data(config: TrainConfig, device: torch.device, checkpoint: Path | None = None) -> TrainingData:
    """The clip, split as the options ask for it, with its coefficients in the order of the checkpoint."""
    m = config.model
    clip = read_clip(m.source_path, m.only_head, m.check_data)
    if checkpoint is not None:
        stored = load_metadata(checkpoint)
        size = stored.get("head", {}).get("architecture", {}).get("expression_size")
        names = stored.get("expression_names", clip.expression_names)
        clip = matched(clip, names, size, "the checkpoint")
    split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
    background = torch.full((3,), float(m.white_background), device=device)

    # Held-out frames are asked for at every evaluation.
    @functools.cache
    def frames(indices: tuple[int, ...]) -> FrameDataset:
        return FrameDataset(
            clip,
            indices,
            resolution=m.resolution,
            background=background,
            only_head=m.only_head,
            device=device,
            data_device=None if m.data_device == "auto" else m.data_device,
            cache_bytes=None if m.cache_gb is None else int(m.cache_gb * 2**30),
        )

    # In this order, so that all of them are there when they are needed.
    for indices in (split.train, split.val, split.test):
        if indices:
            frames(indices).preload()
    return TrainingData(clip, split, background, frames(split.train), frames)


def fitted_head_of(config: TrainConfig, clip: Clip, checkpoint: Path | None) -> tuple[FittedHead | None, str]:
    """The head model that was fitted to the clip, for Gaussians to sit on; else None, and why.

    Who names --scaffold, or goes on with a run on one, insists on it: raises UserError.
    """
    is_wanted, insists = config.network.scaffold, "scaffold" in config.given
    if checkpoint is not None:
        head = load_metadata(checkpoint).get("head", {})
        is_wanted = insists = head.get("architecture", {}).get("scaffold", False)
    if not is_wanted:
        return None, ""
    try:
        models, quiet = config.start.models, config.run.quiet
        return find_fitted_head(clip.root, clip.expression_names, models, quiet), ""
    except UserError as error:
        if insists:
            raise
        return None, f"without a head model, so that side views will fray: {error}"


def scaffold_start_on(fitted: FittedHead, config: TrainConfig, data: TrainingData) -> ScaffoldStart:
    """A scaffold of the fitted head, and where Gaussians start on it. Raises UserError."""
    try:
        count, seed = config.start.initial_gaussians, config.run.seed
        return start_on_scaffold(fitted, data.train, count, seed, config.run.quiet)
    except ValueError as error:
        raise UserError(f"--scaffold: {error}; look at mask/") from None


def fresh_state(
    config: TrainConfig,
    data: TrainingData,
    device: torch.device,
    scaffold_start: ScaffoldStart | None = None,
) -> TrainingState:
    """First Gaussians, networks at their start; a function of the seed."""
    architecture = architecture_for(config, data.clip, data.train.cameras, scaffold_start is not None)
    # The layers of torch.nn draw from the global generator.
    torch.manual_seed(config.run.seed)
    generator = torch.Generator().manual_seed(config.run.seed)
    num, half_side = config.start.initial_gaussians, architecture.half_side
    scaffold = None if scaffold_start is None else scaffold_start.scaffold
    if scaffold_start is not None:
        xyz, seated = scaffold_start.xyz, scaffold_start.seated
        gaussians = GaussianModel.from_points(xyz, architecture, generator, seated)
    elif config.start.start_on_surface:
        points = _points_on_surface(data.train, half_side, num, generator)
        gaussians = GaussianModel.from_points(points, architecture, generator)
    else:
        gaussians = GaussianModel.in_cube(num, half_side, architecture, generator)
    head = GaussianHead(architecture, gaussians, generator, scaffold).to(device)
    # On the CPU: a GPU's linear algebra takes a second to start.
    poses = torch.stack([camera.world_to_camera[:3] for camera in data.train.cameras]).cpu()  # [F, 3, 4]
    mean_pose = nearest_rigid(poses.mean(dim=0))
    head.mean_pose.copy_(mean_pose)
    if architecture.torso_prediction:
        head.torso_map.copy_(fit_torso_map(poses, mean_pose, torch.stack(data.train.torsos).cpu()))
        motions = head_motion(poses, mean_pose)
        head.known_poses.copy_(torch.stack([motions.amin(dim=0), motions.amax(dim=0)]))
    if scaffold is not None:
        signals = torch.stack([head.driving_signal(drive) for drive in data.train.drives])
        head.known_signals.copy_(torch.stack([signals.amin(dim=0), signals.amax(dim=0)]))
    return TrainingState.around(head, config, len(data.train), generator)


def architecture_for(
    config: TrainConfig, clip: Clip, cameras: Sequence[Camera], has_scaffold: bool = False
) -> Architecture:
    """Sizes of the head for a clip; the cube is no larger than what the cameras see at the origin.

    Raises UserError where the options ask for what the clip does not have.
    """
    network = config.network
    has_torso = clip.frames[0].torso is not None
    if network.torso_tracking and not has_torso:
        raise UserError(
            f"--torso_tracking: {clip.root / 'transforms.json'} has no torso_transform; "
            "add it by: python prepare.py --torso-only " + str(clip.root)
        )
    predicts_torso = wants_torso_prediction(config) and has_torso
    options = asdict(network) | {
        "torso_tracking": network.torso_tracking or predicts_torso,
        "torso_prediction": predicts_torso,
        "scaffold": has_scaffold,
    }
    return Architecture(
        **options,
        expression_size=len(clip.frames[0].expression),
        half_side=cube_half_side(cameras),
        # On a scaffold a colour looks the same from everywhere.
        sh_degree=0 if has_scaffold else config.model.sh_degree,
    )


def cube_half_side(cameras: Sequence[Camera]) -> float:
    """Half the side of the cube that holds the head, world units."""
    translations = torch.stack([camera.world_to_camera[:3, 3] for camera in cameras])  # [F, 3]
    # As long as the way from the origin to the camera.
    distance = float(np.median(translations.norm(dim=1).cpu().numpy()))
    width_in_view = distance * cameras[0].width / cameras[0].fx  # world units
    return 0.5 * min(MAX_CUBE_SIDE, VIEW_FRACTION * width_in_view)


def wants_torso_prediction(config: TrainConfig) -> bool:
    """Whether the options ask for it and there is a torso; the clip may lack its motion to learn from."""
    return config.network.torso_prediction and not config.model.only_head


def augmentation_for(
    config: TrainConfig, data: TrainingData, head: GaussianHead, scaffold_start: ScaffoldStart | None = None
) -> Augmentation:
    """What becomes of every training frame, as the options ask for it."""
    p = config.optimization
    return Augmentation(
        data.background,
        random_background=p.random_background,
        noise=p.expression_noise,
        signal_spread=signal_spread(head, data.train) if p.expression_noise else None,
        side_views=side_views_of(data.train, config.run.seed, scaffold_start) if p.lambda_outside else None,
    )


def side_views_of(frames: FrameDataset, seed: int, scaffold_start: ScaffoldStart | None = None) -> SideViews:
    """Views from cameras beside those of the clip. Raises UserError where the matte of its typical frame is
    empty."""
    camera = typical_camera(frames.cameras)
    frame = frames[frames.cameras.index(camera)]
    try:
        points = None if scaffold_start is None else scaffold_start.volume
        return SideViews(camera, frame.matte, torch.Generator().manual_seed(seed), points)
    except ValueError as error:
        raise UserError(f"--lambda_outside: frame {frame.image_id}: {error}; look at mask/") from None


def signal_spread(head: GaussianHead, frames: FrameDataset) -> Tensor:
    """How much each number of the driving signal varies over the frames: [D]."""
    signals = [head.driving_signal(drive) for drive in frames.drives]
    return torch.stack(signals).std(dim=0, correction=0)


def described(config: TrainConfig, data: TrainingData, device: torch.device) -> tuple[str, ...]:
    """Lines for the log: the torso, if it is not as the options ask; the data; preset and device."""
    clip, split, camera = data.clip, data.split, data.train.cameras[0]
    torso = ""
    if wants_torso_prediction(config) and clip.frames[0].torso is None:
        torso = (
            f"{clip.root / 'transforms.json'} has no torso_transform: --torso_prediction is off; the torso "
            f"comes out sharper after: python prepare.py --torso-only {clip.root}"
        )
    frames = (
        f"{clip.root}: {len(split.train)} training, {len(split.val)} validation, {len(split.test)} "
        f"held-out frames of {camera.width} x {camera.height}, "
        f"{len(clip.frames[0].expression)} expression coefficients"
    )
    return torso, frames, f"preset {config.run.preset} on {describe(device)}"


def can_be_captured(config: TrainConfig, device: torch.device) -> bool:
    """Whether the training step can be recorded as a CUDA graph: not where it looks at values."""
    looks_at_values = config.run.detect_anomaly or config.pipeline.debug
    return config.run.cuda_graph and not looks_at_values and cuda.is_available(device)


def planned(config: TrainConfig, seconds: float, folder: RunFolder) -> TrainConfig:
    """The config with a schedule that fits into --max_minutes at so many seconds an iteration, stored."""
    iterations = planning.plan_iterations(seconds, config.run.max_minutes)
    config, changes = rescale_schedule(config, iterations)
    folder.log(
        f"{iterations} iterations fit into --max_minutes {config.run.max_minutes:g} "
        f"at {1e3 * seconds:.1f} ms each: {', '.join(changes)}"
    )
    config = replace(config, notes=())
    folder.store_config(config)
    return config


def _points_on_surface(frames: FrameDataset, half_side: float, num_points: int, generator) -> Tensor:
    """Points [N, 3] on the inflated outline of a typical frame."""
    chosen = evenly_spread(len(frames), STARTING_FRAMES).tolist()
    cameras = [frames.cameras[i] for i in chosen]
    camera = typical_camera(cameras)
    matte = frames[chosen[cameras.index(camera)]].matte
    try:
        return points_on_surface(camera, matte, half_side, num_points, generator)
    except ValueError as error:
        raise UserError(
            f"--start_on_surface: {error}; look at mask/, or start in the cube by --no-start_on_surface"
        ) from None
