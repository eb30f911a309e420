"""Methods beside each other: runs and folders of pictures that show the same frames of the same clip.

A method is a scored set. Whether sets can be compared is checked before anything is scored: the same frames,
picture size and truth.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arguments import ScoringParams
from scoring.rendered_set import RenderedSet
from scoring.scores import SetScores
from utils.errors import UserError

# dB; of pictures that are the same, for plots and means of frames over methods.
MOST_PSNR = 100.0


class Method(NamedTuple):
    """What is compared: its name in tables, its pictures, their scores."""

    label: str
    rendered: RenderedSet
    scores: SetScores

    def values(self, name: str) -> np.ndarray:  # [F]
        """One score of every frame; NaN where it is not defined."""
        return np.array([view.get(name, np.nan) for view in self.scores.views])

    @property
    def psnr(self) -> np.ndarray:  # [F]
        """Finite PSNR of every frame."""
        return np.minimum(self.values("psnr"), MOST_PSNR)


def comparable(params: ScoringParams, sets: Sequence[RenderedSet]) -> dict[str, list[RenderedSet]]:
    """The sets to compare, by name; none where nobody asked for it.

    A run alone is compared with its truth where --out is given. Raises UserError where methods have no set in
    common, or do not show the same frames in the same size on the same truth.
    """
    methods = list(dict.fromkeys(rendered.run for rendered in sets))
    if len(methods) < 2 and params.out is None:
        return {}
    by_name: dict[str, dict[Path, RenderedSet]] = {}
    for rendered in sets:
        by_name.setdefault(rendered.name, {})[rendered.run] = rendered
    common = {name: [*found.values()] for name, found in by_name.items() if len(found) == len(methods)}
    if not common:
        has = ", ".join(f"{rendered.run}: {rendered.name}" for rendered in sets)
        raise UserError(
            f"-m/--model_path: no set that all methods have; expected one to compare, found {has}"
        )
    for found in common.values():
        for other in found[1:]:
            _check_alike(found[0], other)
    return common


def labels_of(sets: Sequence[RenderedSet]) -> list[str]:
    """Short names: as many of the last folders of each path as tell them apart."""
    paths = [rendered.run.resolve().parts for rendered in sets]
    depth = 1
    while depth < max(map(len, paths)) and max(Counter(path[-depth:] for path in paths).values()) > 1:
        depth += 1
    return [str(Path(*path[-depth:])) for path in paths]


def methods_of(results: Sequence[tuple[RenderedSet, SetScores]]) -> list[Method]:
    """Name scored sets."""
    labels = labels_of([rendered for rendered, _ in results])
    return [Method(label, *result) for label, result in zip(labels, results, strict=True)]


def _check_alike(first: RenderedSet, other: RenderedSet) -> None:
    """Raise UserError unless both show the same frames."""
    frames = [[view.image_id for view in rendered.views] for rendered in (first, other)]
    who = f"{other.run} ({other.name})"
    apart = "; score what cannot be compared by calls of their own"
    if frames[0] != frames[1]:
        spans = [f"{len(ids)} from img_id {ids[0]} to {ids[-1]}" for ids in frames]
        raise UserError(f"{who}: frames: {spans[1]}; expected those of {first.run}, {spans[0]}{apart}")
    if first.clip.digest != other.clip.digest:
        raise UserError(
            f"{who}: of the clip {other.clip.root}; expected that of {first.run}, {first.clip.root}{apart}"
        )
    sizes = [f"{rendered.width} x {rendered.height}" for rendered in (first, other)]
    if sizes[0] != sizes[1]:
        raise UserError(f"{who}: pictures of {sizes[1]}; expected {sizes[0]}, as {first.run}{apart}")
    truths = [rendered.pair(rendered.views[0])[1] for rendered in (first, other)]
    if not truths[0].equal(truths[1]):
        why = "another background, or --only_head"
        raise UserError(
            f"{who}: its truth is not that of {first.run}: {why}; expected the same pictures{apart}"
        )
