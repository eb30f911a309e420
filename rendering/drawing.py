"""A head, drawn in one view after another."""

from collections.abc import Iterable, Iterator

import torch

from arguments import PipelineParams
from diff_gaussian_rasterization import Rasterization, Splats
from rendering.avatar_renderer import Recorded, draw
from rendering.paths import eye_pair
from scene.head_model import GaussianHead
from scene.light_head import LightHead
from scene.published_head import PublishedHead
from scene.views import HeadView
from utils.rotations import principal_axes


@torch.no_grad()
def draw_views(
    head: GaussianHead | LightHead | PublishedHead,
    views: Iterable[HeadView],
    pipeline: PipelineParams,
    stereo: bool = False,
) -> Iterator[tuple[HeadView, Rasterization]]:
    """Yield each view with its drawing, without gradients; `stereo`: left and right eye side by side."""
    recorded = Recorded(lambda *inputs: draw(head, *inputs, pipeline), pipeline)
    for view in views:
        camera = head.lens(view.camera) if isinstance(head, PublishedHead) else view.camera
        cameras = eye_pair(camera) if stereo else (camera,)
        drawn = recorded(cameras, [view.drive] * len(cameras), view.background)
        yield view, _side_by_side(drawn) if stereo else Rasterization(*(part.clone() for part in drawn[0]))


def with_axes(splats: Splats) -> Splats:
    """The same splats with scales and rotations, where they carry covariances."""
    if splats.cov3d is None:
        return splats
    scales, rotations = principal_axes(splats.cov3d)
    return splats._replace(scales=scales, rotations=rotations, cov3d=None)


def _side_by_side(drawn: list[Rasterization]) -> Rasterization:
    image, depth, alpha = (
        torch.cat([getattr(eye, name) for eye in drawn], dim=-1) for name in ("image", "depth", "alpha")
    )
    return drawn[0]._replace(image=image, depth=depth, alpha=alpha)
