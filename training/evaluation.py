"""How good the head is at this moment: scores over a data set, and a contact sheet to look at."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arguments import PipelineParams
from diff_gaussian_rasterization import Rasterization
from rendering.drawing import draw_views
from rendering.picture_scores import score_pictures
from rendering.views import FrameViews
from scene.head_model import GaussianHead
from scene.views import HeadView
from utils import images
from utils.metrics import Scores
from utils.progress import track

SHEET_ROWS = 5
# Pictures that a GPU compares at a time.
SCORED_AT_ONCE = 16


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


def evaluate(
    head: GaussianHead, views: FrameViews, pipeline: PipelineParams, *, name: str, quiet: bool = False
) -> Evaluation:
    """Draw every frame of a set and compare it with the truth."""
    num = len(views)
    scored: list[Scores] = []
    waiting: list[tuple[Tensor, Tensor]] = []
    ids, shown = [], []
    on_sheet = set(np.linspace(0, num - 1, min(SHEET_ROWS, num)).round().astype(int).tolist())
    drawings = track(draw_views(head, views, pipeline), num, f"evaluating {name}", quiet=quiet)
    for i, (view, drawn) in enumerate(drawings):
        ids.append(view.image_id)
        waiting.append((drawn.image, view.truth))
        # On the CPU several at a time gain nothing.
        if len(waiting) == SCORED_AT_ONCE or i == num - 1 or not drawn.image.is_cuda:
            scored.append(score_pictures(*map(torch.stack, zip(*waiting, strict=True))))
            waiting = []
        if i in on_sheet:
            shown.append((i, view, drawn))
    # Only now wait for the device.
    numbers = torch.stack([torch.cat(column) for column in zip(*scored, strict=True)], dim=1).tolist()
    rows = [_sheet_row(view, drawn, Scores(*numbers[i]).psnr) for i, view, drawn in shown]
    scores = tuple(ViewScores(number, *row) for number, row in zip(ids, numbers, strict=True))
    return Evaluation(scores, images.contact_sheet(rows))


def _sheet_row(view: HeadView, drawn: Rasterization, psnr: float) -> list[tuple[str, np.ndarray]]:
    return [
        (f"truth, frame {view.image_id}", images.to_uint8(view.truth)),
        (f"render, {psnr:.1f} dB", images.to_uint8(drawn.image)),
        ("error", images.error_map(drawn.image, view.truth)),
        ("depth", images.depth_to_color(drawn.depth, drawn.alpha)),
    ]
