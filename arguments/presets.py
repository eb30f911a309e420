"""Presets: what each changes of the defaults, which are the published method. A preset is a full schedule.

To add one, add an entry: the command line, `--help` and the tests read this table.
"""

# Small, for CPUs, demos and --is_debug.
_QUICK: dict[str, object] = {
    "sh_degree": 1,
    "deformation_depth": 4,
    "deformation_width": 64,
    "expression_gain": 4.0,
    "pose_conditioning": True,
    "scaffold": True,
    "num_blendshapes": 16,
    "blendshape_lr_init": 5e-3,
    "blendshape_lr_final": 5e-4,
    "torso_membership": True,
    "torso_prediction": True,
    "start_on_surface": True,
    "initial_gaussians": 5_000,
    "iterations": 2_000,
    "position_lr_max_steps": 2_000,
    "deformation_lr_max_steps": 2_000,
    "triplane_lr_max_steps": 2_000,
    "tau_lr_max_steps": 2_000,
    "deformation_lr_init": 2e-3,  # the networks learn in minutes what the paper gives them hours for
    "triplane_lr_init": 1e-2,
    "triplane_lr_final": 1e-4,
    "opacity_mlp_lr": 1e-3,
    "feature_lr": 3e-3,
    "feature_rest_lr": 5e-4,
    "lambda_vgg": 0.0,
    "warm_up": 100,
    "sh_increase_interval": 500,
    "densify_from_iter": 200,
    "densify_until_iter": 1_500,
    "opacity_reset_interval": 2_000,  # after the last densification: a reset costs more than it clears up
    "max_gaussians": 10_000,
    "test_iterations": (500, 1_000, 2_000),
    "save_iterations": (2_000,),
}
# The departures that earned their place on validation frames (docs/experiments.md).
_BEST: dict[str, object] = {
    **_QUICK,
    "deformation_depth": 2,  # blendshapes do its work; a small field over-fits less
    "deformation_width": 16,
    "num_blendshapes": 8,
    "random_background": True,
    "expression_noise": 0.2,
    "average_decay": 0.998,
    "blendshape_decay": 0.1,
    "lambda_outside": 1.0,
    "initial_gaussians": 10_000,
    "max_gaussians": 18_000,  # 7 MB as saved for use
    "iterations": 4_000,
    "position_lr_max_steps": 4_000,
    "deformation_lr_max_steps": 4_000,
    "triplane_lr_max_steps": 4_000,
    "tau_lr_max_steps": 4_000,
    "warm_up": 200,
    "sh_increase_interval": 1_000,
    "densify_from_iter": 400,
    "densify_until_iter": 3_000,
    "opacity_reset_interval": 4_000,
    "test_iterations": (1_000, 2_000, 3_000, 4_000),
    "save_iterations": (4_000,),
}

PRESETS: dict[str, dict[str, object]] = {
    "paper": {},  # exactly the published method: the defaults of params.py
    "best": _BEST,
    "quick": _QUICK,
}
DEFAULT_PRESET = "best"

# What a preset changes besides where Gaussians sit on a head model: they are more, and each says less.
ON_SCAFFOLD: dict[str, dict[str, object]] = {
    "best": {"initial_gaussians": 14_000, "max_gaussians": 24_000},
}

# --is_debug: which preset, how much of the data, how long. It must end within 90 s on 2 CPU cores.
DEBUG_PRESET = "quick"
# The preset's schedule is rescaled to this, as by --iterations.
DEBUG_ITERATIONS = 100
DEBUG_VALUES: dict[str, object] = {"resolution": 128, "max_frames": 40}
DEBUG_RENDER_VALUES: dict[str, object] = {"max_frames": 20, "num_frames": 20}
