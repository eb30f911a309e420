"""Options of the scripts: declared once, parsed, checked, stored. The only place that knows argparse."""

from arguments.command_line import CONFIG_NAME, parse_render_args, parse_train_args
from arguments.config_file import load_config, save_config
from arguments.params import (
    ModelParams,
    NetworkParams,
    OptimizationParams,
    PipelineParams,
    RenderConfig,
    RenderParams,
    RunParams,
    TrainConfig,
)
from arguments.schedule import rescale_schedule

__all__ = [
    "CONFIG_NAME",
    "ModelParams",
    "NetworkParams",
    "OptimizationParams",
    "PipelineParams",
    "RenderConfig",
    "RenderParams",
    "RunParams",
    "TrainConfig",
    "load_config",
    "parse_render_args",
    "parse_train_args",
    "rescale_schedule",
    "save_config",
]
