"""Options of the scripts: declared once, parsed, checked, stored. The only place that knows argparse."""

from arguments.command_line import CONFIG_NAME, parse_render_args, parse_train_args, stored_config
from arguments.config_file import load_config, save_config
from arguments.exporting import ExportParams, parse_export_args
from arguments.params import (
    ModelParams,
    NetworkParams,
    OptimizationParams,
    PipelineParams,
    RunParams,
    StartParams,
    TrainConfig,
)
from arguments.preparation import PreparationParams, parse_prepare_args
from arguments.rendering import RenderConfig, RenderParams
from arguments.schedule import on_scaffold, rescale_schedule
from arguments.scoring import ScoringParams, parse_metrics_args
from arguments.viewing import ViewingParams, parse_viewer_args

__all__ = [
    "CONFIG_NAME",
    "ExportParams",
    "ModelParams",
    "NetworkParams",
    "OptimizationParams",
    "PipelineParams",
    "PreparationParams",
    "RenderConfig",
    "RenderParams",
    "RunParams",
    "ScoringParams",
    "StartParams",
    "TrainConfig",
    "ViewingParams",
    "load_config",
    "on_scaffold",
    "parse_export_args",
    "parse_metrics_args",
    "parse_prepare_args",
    "parse_render_args",
    "parse_train_args",
    "parse_viewer_args",
    "rescale_schedule",
    "save_config",
    "stored_config",
]
