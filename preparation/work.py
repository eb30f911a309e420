"""The record that goes from step to step of the pipeline: all that is known of a clip so far."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arguments import PreparationParams
from preparation.data_set.layout import Layout
from preparation.geometry.camera import crop_points
from preparation.head_fit.head_fit import HeadFit
from preparation.head_fit.pixel_fit import PixelFit
from preparation.head_fit.score_map import named_scores
from preparation.models.chosen_networks import Networks
from preparation.torso.motion import TorsoMotion
from preparation.tracking.landmarks import LandmarkTrack
from preparation.tracking.poses_from_landmarks import HeadTrack
from preparation.tracking.poses_from_pixels import Refinement
from preparation.tracking.smoothing import SmoothedPoses
from preparation.video import Video


@dataclass(frozen=True, eq=False)
class Work:
    """A clip on its way to a data set; what a later step finds is None until then.

    V frames of the video are tracked; F of them, those with a usable face at the data set's rate, are images.
    """

    options: PreparationParams
    networks: Networks
    video: Video
    layout: Layout
    # Width and height of the upright video.
    size: tuple[int, int]
    # One in so many frames of the video becomes an image.
    every: int

    # Found by "tracking".
    track: LandmarkTrack | None = None
    expressions: np.ndarray | None = None  # [V, E], smoothed
    # Found by "head poses".
    head: HeadTrack | None = None
    # Found by "head model", and bettered by later steps; None without a head model.
    head_fit: HeadFit | None = None
    # Found by "aligning pixels".
    refinement: Refinement | PixelFit | None = None
    smoothed: SmoothedPoses | None = None
    # Solved with the head model, and smoothed.
    coefficients: np.ndarray | None = None  # [F, E]
    # Found by "mattes": grey levels before and after steadying, None where all mattes were there.
    flicker: dict[str, float] | None = None
    # Found by "torso": None where it is not asked for, or cannot be followed.
    torso: TorsoMotion | None = None
    # Found by "report".
    report: dict[str, Any] | None = None
    # What a person should know of the clip: cuts, frames left out.
    notes: tuple[str, ...] = ()
    # Wall-clock time of the steps so far, by name.
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.video.rate / self.every

    @property
    def image_ids(self) -> np.ndarray:  # [F]
        return self.head.frames // self.every

    @property
    def image_times(self) -> np.ndarray:  # [F]
        """Seconds in the video."""
        return self.video.start + self.head.frames / self.video.rate

    @property
    def is_solved(self) -> bool:
        """Whether expressions are coefficients of the head model, not the detector's scores."""
        return self.coefficients is not None and self.options.expressions == "solved"

    @property
    def image_expressions(self) -> np.ndarray:  # [F, E]
        return self.coefficients if self.is_solved else self.image_scores

    @property
    def expression_names(self) -> tuple[str, ...]:
        return self.head_fit.head.names if self.is_solved else self.track.coefficient_names

    @property
    def image_scores(self) -> np.ndarray:  # [F, E]
        """The detector's, smoothed."""
        return self.expressions[self.head.frames]

    @property
    def named_scores(self) -> np.ndarray:  # [F, E]
        """The detector's scores under the head model's names; 0 where it has none."""
        return named_scores(self.image_scores, self.track.coefficient_names, self.head_fit.head.names)

    @property
    def parses_by_head(self) -> bool:
        """Whether the parsing maps are the head model's."""
        by_choice = self.options.parsing == "head" or self.networks.classes is None
        return self.head_fit is not None and self.options.parsing in ("auto", "head") and by_choice

    def vertices(self, row: int) -> np.ndarray:
        """The head model's mesh in an image, in camera coordinates. [V, 3]"""
        poses = self.smoothed.poses.select([row])
        return poses.apply(self.head_fit.mesh.vertices(self.coefficients[row]))[0]

    @property
    def image_landmarks(self) -> np.ndarray:  # [F, 478, 2]
        """Pixels of the images."""
        tracked = self.track.landmarks[self.head.frames, :, :2]
        return crop_points(tracked, self.head.crop, self.options.size)
