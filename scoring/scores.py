"""All scores of one set of pictures: a row of numbers for every view, and their means.

Computed from the 8-bit files, as the family's metrics.py does; `mean` and `per_view` of metrics.json are
render.py's, of the same images before rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scoring.regions import FrameRegions, RegionFinder
from scoring.rendered_set import RenderedSet, ScoredView
from utils.masks import dilated, eroded, scaled_radius
from utils.progress import track
from utils.region_metrics import flicker, mean_absolute_error, score_regions, sharpness

# Pixels of a 512 wide image. The outline is no detail of the person, and what is near it no background.
SHARPNESS_MARGIN = 5
BACKGROUND_MARGIN = 15

DEFINITIONS = {
    "images": "8-bit files; means are over views; null: not defined for this view, left out of the mean",
    "l1, psnr, ssim": "of the whole image, as in the definitions of render.py",
    "head_*": "pixels inside the matte that parsing/ has in pure blue (without parsing/: the matte)",
    "mouth_*, eyes_*": "rectangle around a flat box in head space (boxes: x from, to, y from, to, z)",
    "*_psnr, *_l1, *_ssim": "mean squared, mean absolute error of the region's pixels; mean of the SSIM map",
    "sharpness": "mean squared Laplacian of the grey render over that of the truth, inside the head, 5 px "
    "(at width 512) and more from its outline",
    "sharpness_person": "the same inside the matte",
    "background_error": "mean absolute error 15 px (at width 512) and more outside the matte",
    "flicker": "mean absolute second difference in time of render - truth, at the middle of three frames "
    "that follow each other",
    "lpips": "Zhang et al. 2018, version 0.1, VGG-16",
}


@dataclass(frozen=True)
class SetScores:
    """Scores of one set, in the order of RenderedSet.views; NaN where a score is not defined for a view."""

    views: tuple[dict[str, float], ...]

    @property
    def means(self) -> dict[str, float]:
        """Mean of each score over the views that have it; NaN where none has."""
        return {name: _mean([view[name] for view in self.views]) for name in self.views[0]}


@torch.no_grad()
def score_set(
    rendered: RenderedSet,
    finder: RegionFinder,
    device: torch.device,
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None,
    quiet: bool = False,
) -> SetScores:
    """Score every view of a set. `lpips` takes render and truth [3, H, W]. Raises UserError."""
    rows: list[dict[str, float]] = []
    # Of the last three views, each [3, H, W].
    errors: list[Tensor] = []
    label = f"scoring {rendered.folder}"
    for number, view in enumerate(track(rendered.views, len(rendered.views), label, quiet=quiet)):
        image, truth = (x.to(device) for x in rendered.pair(view))
        row = _score_view(image, truth, finder.find(view), has_torso=not rendered.config.model.only_head)
        row["flicker"] = float("nan")
        if lpips is not None:
            row["lpips"] = float(lpips(image, truth))
        errors = [*errors[-2:], image - truth]
        if is_even_in_time(rendered.views[max(0, number - 2) : number + 1]):
            rows[-1]["flicker"] = float(flicker(*errors))
        rows.append(row)
    return SetScores(tuple(rows))


def is_even_in_time(views: tuple[ScoredView, ...]) -> bool:
    """Whether these are three frames that follow each other in the clip, evenly spaced in time."""
    if len(views) != 3:
        return False
    positions, times = ([view[key] for view in views] for key in (2, 1))
    return list(np.diff(positions)) == [1, 1] and np.ptp(np.diff(times)) == 0


def _score_view(image: Tensor, truth: Tensor, regions: FrameRegions, has_torso: bool) -> dict[str, float]:
    height, width = image.shape[-2:]

    def on_device(mask: np.ndarray) -> Tensor:
        return torch.from_numpy(mask).to(image.device)

    details = {name: rectangle.mask(height, width) for name, rectangle in regions.details.items()}
    masks = {"": np.ones((height, width), bool), "head_": regions.head}
    masks |= {f"{name}_": mask for name, mask in details.items()}
    scores = score_regions(image, truth, {name: on_device(mask) for name, mask in masks.items()})
    row = {
        f"{prefix}{name}": float(value)
        for prefix, values in scores.items()
        for name, value in values._asdict().items()
    }
    margin = scaled_radius(SHARPNESS_MARGIN, width)
    row["sharpness"] = float(sharpness(image, truth, on_device(eroded(regions.head, margin))))
    if has_torso:
        row["sharpness_person"] = float(sharpness(image, truth, on_device(eroded(regions.person, margin))))
    background = ~dilated(regions.person, scaled_radius(BACKGROUND_MARGIN, width))
    row["background_error"] = float(mean_absolute_error(image, truth, on_device(background)))
    return row


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
