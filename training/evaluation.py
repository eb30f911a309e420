"""How good the head is at this moment: scores over a data set, and a contact sheet to look at."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arguments import PipelineParams
from gaussian_renderer import render
from scene.dataset import FrameDataset
from scene.head_model import GaussianHead
from utils import images
from utils.metrics import score
from utils.progress import track

SHEET_ROWS = 5


@dataclass(frozen=True)
class ViewScores:
    """Scores of one frame."""

    image_id: int
    l1: float
    psnr: float  # dB
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all frames of a set, and pictures of some of them."""

    views: tuple[ViewScores, ...]
    sheet: np.ndarray  # [h, w, 3] uint8: truth | render | error | depth

    def mean(self, name: str) -> float:
        return float(np.mean([getattr(view, name) for view in self.views]))


@torch.no_grad()
def evaluate(
    head: GaussianHead,
    frames: FrameDataset,
    background: Tensor,
    pipeline: PipelineParams,
    *,
    torso_is_given: bool,
    name: str,
    quiet: bool = False,
) -> Evaluation:
    """Render every frame of a set and compare it with the truth. `torso_is_given`: whether the head may see
    the torso's motion of the frame, which was measured in its image."""
    views, rows = [], []
    shown = set(np.linspace(0, len(frames) - 1, min(SHEET_ROWS, len(frames))).round().astype(int).tolist())
    frames.prefetch(range(len(frames)))
    for i in track(range(len(frames)), len(frames), f"evaluating {name}", quiet=quiet):
        frame = frames[i]
        torso = frame.torso if torso_is_given else None
        splats = head(frame.camera, frame.expression, frame.camera.world_to_camera, torso)
        rendered = render(frame.camera, splats, background, pipeline=pipeline)
        scores = score(rendered.image, frame.image)
        views.append(ViewScores(frame.image_id, *(float(value) for value in scores)))
        if i in shown:
            rows.append(
                [
                    (f"truth, frame {frame.image_id}", images.to_uint8(frame.image)),
                    (f"render, {float(scores.psnr):.1f} dB", images.to_uint8(rendered.image)),
                    ("error", images.error_map(rendered.image, frame.image)),
                    ("depth", images.depth_to_color(rendered.depth, rendered.alpha)),
                ]
            )
    return Evaluation(tuple(views), images.contact_sheet(rows))
