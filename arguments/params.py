"""Every option of train.py, each declared once: default, help, unit and range.

A field of these frozen dataclasses *is* the flag of the same name; `parser.py` builds argparse from
the metadata, `config_file.py` writes the values as JSON, `presets.py` holds what the presets change. Names
are unique across groups, and those of the 3D Gaussian Splatting family keep their meaning (Kerbl et al.
2023). Defaults are the published method (arXiv 2312.01632). Nothing here imports more than the standard
library: `--help` is instant.
"""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass, field
from pathlib import Path

from arguments.options import device_option, option, port_option


@dataclass(frozen=True)
class ModelParams:
    """Data and model: what is learned from what."""

    source_path: Path | None = option(
        None, "folder of the clip: transforms.json, ori_imgs/, mask/", short="s", shown="required"
    )
    model_path: Path | None = option(
        None, "folder for the results", short="m", shown="output/<name of the clip's folder>"
    )
    resolution: int = option(
        -1,
        "1, 2, 4, 8 divide the size of the frames; another number is the width; -1 leaves it as it is",
        unit="pixels",
        short="r",
        low=-1,
        high=8192,
    )
    white_background: bool = option(False, "composite the person on white instead of black", short="w")
    sh_degree: int = option(3, "highest degree of the spherical harmonics of the colour", low=0, high=3)
    data_device: str = option(
        "auto", "where decoded frames are kept: auto, cpu, cuda, cuda:N (auto: with the model, if they fit)"
    )
    cache_gb: float | None = option(
        None,
        "memory for decoded frames; the rest is decoded when needed",
        unit="GB",
        low=0,
        shown="from free memory",
    )
    eval: bool = option(False, "keep the last frames of the clip out of training, for testing")
    test_frames: int | None = option(
        None,
        "number of held-out frames at the end of the clip; implies --eval",
        unit="frames",
        low=1,
        shown="500 from 2,500 frames on, else 15 %%",
    )
    val_frames: int = option(
        0,
        "number of frames before the held-out ones that leave training too, to make choices on",
        unit="frames",
        low=0,
    )
    max_frames: int = option(
        0, "use only so many frames, spread over the clip; 0 = all", unit="frames", low=0
    )
    check_data: bool = option(True, "refuse mattes and cameras that cannot belong to the pictures")
    only_head: bool = option(False, "hair, face and ears without neck and torso; needs the parsing/ maps")


@dataclass(frozen=True)
class NetworkParams:
    """Networks: sizes and parts of the head, fixed once training has begun."""

    deformation_depth: int = option(
        8, "layers of the motion deformation field", unit="layers", low=1, high=64
    )
    deformation_width: int = option(256, "width of the motion deformation field", unit="units", low=1)
    position_frequencies: int = option(
        10, "frequencies of the positional encoding of the means", low=0, high=30
    )
    num_derivations: int = option(
        4, "rotations per Gaussian that send it to the tri-plane (K)", low=1, high=64, is_experiment=True
    )
    triplane_resolution: int = option(64, "side of each feature plane", unit="texels", low=2)
    triplane_channels: int = option(
        32, "channels of the tri-plane (C); a multiple of --num_derivations", low=1
    )
    decoder_width: int = option(64, "width of the opacity and colour decoders", unit="units", low=1)
    geometry_features: int = option(32, "features handed from the opacity to the colour decoder", low=1)
    flat_tau: bool = option(
        False,
        "optimise the rotations tau in R^4 by plain Adam, not on S^3, to compare; not the published method",
        is_experiment=True,
    )
    expression_gain: float = option(
        1.0, "factor on the expression coefficients, to learn them sooner; not the published method", low=1e-6
    )
    pose_conditioning: bool = option(
        False,
        "let the deformation see the head pose too, so that the torso follows; not the published method",
    )
    scaffold: bool = option(
        False,
        "let Gaussians sit on the head model that prepare.py fitted (head.json), each in one colour from all "
        "sides; without head.json, or the model's file, they float; not the published method",
    )
    num_blendshapes: int = option(
        0,
        "offsets of its own that a Gaussian has and the driving signal blends; not the published method",
        low=0,
    )
    torso_membership: bool = option(
        False,
        "each Gaussian learns how far it follows the torso, which stands before the camera, not the head; "
        "not the published method",
    )
    torso_tracking: bool = option(
        False,
        "let the torso's own motion (torso_transform in the data) drive it; not the published method",
    )
    torso_prediction: bool = option(
        False,
        "learn with the torso's own motion (torso_transform in the data) and predict it from the head's pose "
        "when rendering; off where the data have none; not the published method",
    )


@dataclass(frozen=True)
class StartParams:
    """Start: where the first Gaussians are."""

    initial_gaussians: int = option(10_000, "Gaussians at the start", unit="Gaussians", low=1)
    start_on_surface: bool = option(
        False,
        "start on the front of the outline, blown up like a balloon, not in the whole cube: novel views hold "
        "together; not the published method",
    )
    models: Path | None = option(
        None,
        "folder of the head model's file, for --scaffold",
        metavar="DIR",
        shown="GAUSSIANHEAD_MODELS, else download",
    )


@dataclass(frozen=True)
class PipelineParams:
    """Pipeline: rendering switches of the family."""

    convert_SHs_python: bool = option(False, "turn spherical harmonics into colours outside the rasterizer")
    compute_cov3D_python: bool = option(False, "compute the 3D covariances outside the rasterizer")
    debug: bool = option(
        False, "stop at the first number in or out of the rasterizer that is not finite (slow)"
    )


@dataclass(frozen=True)
class OptimizationParams:
    """Optimization: schedule, learning rates, loss and densification; --iterations moves what is marked *."""

    iterations: int = option(
        80_000, "length of the schedule; milestones marked * follow it", unit="iterations", low=1
    )
    views_per_step: int = option(
        1,
        "frames that a step learns from; learning rates are multiplied by the square root of it",
        unit="frames",
        low=1,
        high=64,
    )
    position_lr_init: float = option(
        1.6e-4, "first learning rate of the means, times position_lr_scale", low=0
    )
    position_lr_final: float = option(
        1.6e-6, "last learning rate of the means, times position_lr_scale", low=0
    )
    position_lr_delay_mult: float = option(
        0.01,
        "accepted for the family's scripts; without delay steps it has no effect there either",
        low=0,
        high=1,
    )
    position_lr_max_steps: int = option(
        30_000, "when the means reach their last rate", unit="iterations", low=1, rescaled=True
    )
    position_lr_scale: float = option(5.0, "factor on the learning rates of the means", low=0)
    deformation_lr_init: float = option(8e-4, "first learning rate of the deformation field", low=0)
    deformation_lr_final: float = option(1.6e-6, "last learning rate of the deformation field", low=0)
    deformation_lr_max_steps: int = option(
        80_000, "when the deformation field reaches its last rate", unit="iterations", low=1, rescaled=True
    )
    blendshape_lr_init: float = option(
        1e-3, "first learning rate of blendshapes and their weights (--num_blendshapes)", low=0
    )
    blendshape_lr_final: float = option(1e-4, "last learning rate of these", low=0)
    shape_lr_init: float = option(
        1e-3, "first learning rate of what a person's shape has that the head model leaves out", low=0
    )
    shape_lr_final: float = option(1e-5, "last learning rate of it", low=0)
    triplane_lr_init: float = option(1e-3, "first learning rate of the tri-plane", low=0)
    triplane_lr_final: float = option(1.6e-6, "last learning rate of the tri-plane", low=0)
    triplane_lr_max_steps: int = option(
        80_000, "when the tri-plane reaches its last rate", unit="iterations", low=1, rescaled=True
    )
    tau_lr_init: float = option(1e-3, "first learning rate of the derivation rotations tau", low=0)
    tau_lr_final: float = option(1e-5, "last learning rate of tau", low=0)
    tau_lr_max_steps: int = option(
        30_000, "when tau reaches its last rate", unit="iterations", low=1, rescaled=True
    )
    fresh_tau: bool = option(
        False,
        "cloned and split Gaussians draw new rotations tau, to compare with inheriting them; "
        "not the published method",
        is_experiment=True,
    )
    opacity_lr: float = option(0.05, "learning rate of the per-Gaussian opacity offset", low=0)
    opacity_mlp_lr: float = option(1e-4, "learning rate of the opacity decoder", low=0)
    feature_lr: float = option(1e-3, "learning rate of the colour decoder", low=0)
    feature_rest_lr: float = option(
        5e-5, "learning rate of the colour decoder's head for SH degree 1 and up", low=0
    )
    color_lr: float = option(2.5e-3, "learning rate of the colour that a Gaussian on a scaffold has", low=0)
    scaling_lr: float = option(5e-3, "learning rate of the scales", low=0)
    rotation_lr: float = option(1e-3, "learning rate of the rotations", low=0)
    percent_dense: float = option(
        0.01, "share of the scene extent above which Gaussians are split, not cloned", low=0
    )
    expression_noise: float = option(
        0.0,
        "noise on expressions and conditioning poses while training, in shares of their spread in the clip; "
        "not the published method",
        low=0,
    )
    random_background: bool = option(
        False,
        "composite each training frame on a random colour: leaves no stray splats; not the published method",
    )
    average_decay: float = option(
        0.0,
        "use and save a moving average of the weights that keeps this share a step, once densification is "
        "over; 0 = off; not the published method",
        low=0,
        high=0.99999,
    )
    blendshape_decay: float = option(
        0.0, "decoupled weight decay of the blendshapes, times their learning rate", low=0
    )
    lambda_dssim: float = option(0.2, "weight of 1 - SSIM in the loss; L1 has the rest", low=0, high=1)
    lambda_vgg: float = option(0.01, "weight of the VGG perceptual loss; 0 = off", low=0)
    vgg_weights: Path | None = option(
        None, "file with the 16-layer VGG weights for --lambda_vgg", shown="none: the term is off"
    )
    lambda_outside: float = option(
        0.0,
        "weight of the alpha that cameras turned by up to 30 degrees see outside the blown-up outline: "
        "leaves no haze behind the rims; 0 = off; not the published method",
        low=0,
    )
    warm_up: int = option(
        3_000, "iterations before the deformation field sets in", unit="iterations", low=0, rescaled=True
    )
    sh_increase_interval: int = option(
        1_000, "iterations between two steps of the SH degree", unit="iterations", low=1, rescaled=True
    )
    densification_interval: int = option(
        100, "iterations between two densifications, a window of statistics", unit="iterations", low=1
    )
    densify_from_iter: int = option(500, "first densification after", unit="iterations", low=0, rescaled=True)
    densify_until_iter: int = option(
        15_000, "last densification before", unit="iterations", low=0, rescaled=True
    )
    densify_grad_threshold: float = option(
        2e-4, "mean screen-space gradient above which a Gaussian is densified", unit="NDC", low=0
    )
    opacity_reset_interval: int = option(
        3_000, "iterations between two opacity resets", unit="iterations", low=1, rescaled=True
    )
    min_opacity: float = option(0.005, "decoded opacity below which a Gaussian is pruned", low=0, high=1)
    max_screen_size: float = option(
        0.0,
        "screen radius above which a Gaussian is pruned, once opacities were reset; 0 = off",
        unit="pixels",
        low=0,
    )
    max_gaussians: int = option(
        0, "upper limit of the number of Gaussians; 0 = none", unit="Gaussians", low=0
    )


@dataclass(frozen=True)
class RunParams:
    """Run: what is written, where it runs."""

    preset: str = option("best", "full set of values that the other options start from")
    is_debug: bool = option(
        False, "a quick look: few frames, a short schedule (and --preset quick unless given)"
    )
    max_minutes: float = option(
        0.0,
        "plan the schedule to end within this time, from the measured speed; 0 = no limit",
        unit="minutes",
        low=0,
    )
    test_iterations: tuple[int, ...] = option(
        (1_000, 7_000, 15_000, 30_000, 50_000, 80_000),
        "evaluate at these",
        unit="iterations",
        low=1,
        rescaled=True,
    )
    save_iterations: tuple[int, ...] = option(
        (30_000, 80_000),
        "save model, PLY and checkpoint at these; the end always",
        unit="iterations",
        low=1,
        rescaled=True,
    )
    checkpoint_iterations: tuple[int, ...] = option(
        (), "save a checkpoint to resume from at these too", unit="iterations", low=1, shown="none"
    )
    save_minutes: float = option(
        5.0,
        "save a checkpoint to resume from whenever this time is over; the next one takes its place; 0 = off",
        unit="minutes",
        low=0,
    )
    start_checkpoint: Path | None = option(
        None, "go on from this checkpoint file, with the options of this command line", shown="none"
    )
    resume: bool = option(
        False, "go on with the run in --model_path, from its last checkpoint, with its stored options"
    )
    overwrite: bool = option(False, "replace the run in --model_path; files that are not of a run stay")
    seed: int = option(0, "seed of every random choice of the run", low=0, high=2**63 - 1)
    device: str = device_option()
    cuda_graph: bool = option(
        True, "record the training step as a CUDA graph and replay it, where that is possible"
    )
    viewer: bool = option(
        False, "serve a page that shows the head while it grows, to this machine only; it can pause the run"
    )
    viewer_port: int | None = port_option()
    quiet: bool = option(False, "print errors and the final result only")
    detect_anomaly: bool = option(False, "let autograd name the operation that made a NaN (slow)")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run was told."""

    model: ModelParams = ModelParams()
    network: NetworkParams = NetworkParams()
    start: StartParams = StartParams()
    pipeline: PipelineParams = PipelineParams()
    optimization: OptimizationParams = OptimizationParams()
    run: RunParams = RunParams()
    # Options that stood on a command line of this run.
    given: frozenset[str] = frozenset()
    # What the log should say about how values came about.
    notes: tuple[str, ...] = field(default=(), compare=False)


TRAIN_GROUPS = {
    "model": ModelParams,
    "network": NetworkParams,
    "start": StartParams,
    "pipeline": PipelineParams,
    "optimization": OptimizationParams,
    "run": RunParams,
}

# Experiments without gain whose options are gone; docs/experiments.md has what they brought. Each with the
# value at which it did nothing, so that an old config that did not use it needs no word.
RETIRED = {"start_in_hull": False, "pose_refinement_lr": 0.0}
