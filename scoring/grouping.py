"""Scores by how far the head is turned, and by what of the person a pixel shows."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from scene.image_checks import decode_image
from scoring.comparison import Method
from scoring.rendered_set import RenderedSet, ScoredView
from utils.progress import track
from utils.region_metrics import score_regions

# Degrees of |yaw| between which frames are taken together.
YAW_EDGES = (0, 5, 15, 25, 38, 90)
# Colours of parsing/, RGB, beside the head's blue, which scoring/regions.py knows.
PART_COLORS = {"neck": (0, 255, 0), "torso": (255, 0, 0)}
# Less than so many degrees apart is a head that does not turn.
LEAST_TURN = 1.0


class Group(NamedTuple):
    """Frames taken together, or a region of all frames: for each method, means of its scores."""

    name: str
    num_frames: int
    means: tuple[dict[str, float], ...]


def yaw_of(camera_to_world: np.ndarray) -> float:
    """Degrees that a camera [4, 4] is turned about the head's y axis."""
    return float(np.degrees(np.arctan2(camera_to_world[0, 2], camera_to_world[2, 2])))


def yaws_of(rendered: RenderedSet) -> np.ndarray:  # [F] degrees
    """How far the head is turned in each view of a set."""
    frames = rendered.clip.frames
    return np.array([yaw_of(frames[view.position].camera_to_world) for view in rendered.views])


def by_yaw(methods: Sequence[Method], edges: Sequence[float] = YAW_EDGES) -> list[Group]:
    """Means over the frames between two neighbouring edges of |yaw|, the last one open; none where there are
    no frames, and none at all where the head does not turn."""
    yaws = yaws_of(methods[0].rendered)
    if np.ptp(yaws) < LEAST_TURN:
        return []
    groups = []
    for low, high in itertools.pairwise((*edges[:-1], np.inf)):
        is_inside = (np.abs(yaws) >= low) & (np.abs(yaws) < high)
        if is_inside.any():
            name = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
            means = tuple(_means(method, is_inside) for method in methods)
            groups.append(Group(name, int(is_inside.sum()), means))
    return groups


def by_region(methods: Sequence[Method], quiet: bool = False) -> tuple[list[Group], str]:
    """Means over all frames of each region that a frame has, and one line where parsing/ is missing.

    Raises UserError where a map cannot be read.
    """
    rendered = methods[0].rendered
    folder = rendered.clip.root / "parsing"
    has_parsing = all((folder / f"{view.image_id}.png").is_file() for view in rendered.views)
    notice = "" if has_parsing else f"{rendered.clip.root}: no parsing/; no scores of neck and torso"
    regions = {"whole": "", "head" if has_parsing else "person": "head_", "mouth": "mouth_", "eyes": "eyes_"}
    groups = [
        Group(name, len(rendered.views), tuple(_region_means(method, prefix) for method in methods))
        for name, prefix in regions.items()
    ]
    parts = [_part_scores(method, has_parsing, quiet) for method in methods]
    for name in dict.fromkeys(name for part in parts for name in part):
        frames = len(parts[0][name]["psnr"])
        means = tuple({key: _mean(values) for key, values in part[name].items()} for part in parts)
        groups.append(Group(name, frames, means))
    return groups, notice


@torch.no_grad()
def _part_scores(method: Method, has_parsing: bool, quiet: bool) -> dict[str, dict[str, list[float]]]:
    """For each part, each score of every frame that shows it."""
    found: dict[str, dict[str, list[float]]] = {}
    rendered = method.rendered
    label = f"regions of {method.label}"
    for view in track(rendered.views, len(rendered.views), label, quiet=quiet):
        masks = _parts(rendered, view, has_parsing)
        shown = {name: torch.from_numpy(mask) for name, mask in masks.items() if mask.any()}
        for name, scores in score_regions(*rendered.pair(view), shown).items():
            for key, value in scores._asdict().items():
                found.setdefault(name, {}).setdefault(key, []).append(float(value))
    return found


def _parts(rendered: RenderedSet, view: ScoredView, has_parsing: bool) -> dict[str, np.ndarray]:
    """Masks [H, W] of neck and torso by parsing/, in the matte, and of what is outside of the matte."""
    size = rendered.width, rendered.height
    matte = decode_image(rendered.clip.frames[view.position].mask_path, cv2.IMREAD_GRAYSCALE)
    is_person = cv2.resize(matte, size, interpolation=cv2.INTER_AREA) > 127
    masks = {}
    if has_parsing and not rendered.config.model.only_head:
        path = rendered.clip.root / "parsing" / f"{view.image_id}.png"
        parsing = decode_image(path, cv2.IMREAD_COLOR)[..., ::-1]
        if parsing.shape[:2] != matte.shape:
            parsing = cv2.resize(parsing, matte.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for name, color in PART_COLORS.items():
            part = matte * (parsing == color).all(axis=2)
            masks[name] = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127
    return {**masks, "background": ~is_person}


def _means(method: Method, is_inside: np.ndarray) -> dict[str, float]:
    rows = [view for view, inside in zip(method.scores.views, is_inside, strict=True) if inside]
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _region_means(method: Method, prefix: str) -> dict[str, float]:
    return {name: method.scores.means[prefix + name] for name in ("psnr", "ssim", "l1")}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
