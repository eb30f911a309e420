"""A head, drawn in one view after another."""

from collections.abc import Iterable, Iterator

import torch

from arguments import PipelineParams
from diff_gaussian_rasterization import Rasterization
from gaussian_renderer import render
from scene.head_model import GaussianHead
from scene.views import HeadView


@torch.no_grad()
def draw_views(
    head: GaussianHead, views: Iterable[HeadView], pipeline: PipelineParams
) -> Iterator[tuple[HeadView, Rasterization]]:
    """Yield each view with its drawing, without gradients."""
    for view in views:
        yield view, render(view.camera, head(view.camera, view.drive), view.background, pipeline=pipeline)
