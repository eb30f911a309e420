"""Which networks are used: MediaPipe's, from files whose content is checked, or the user's own."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from arguments import PreparationParams
from parametric_head.landmarks import LandmarkPlaces, landmark_places
from parametric_head.model import NAME, ParametricHead, load_head
from parametric_head.model_file import find_head
from preparation.models.mediapipe_networks import MediaPipeFaceTracker, MediaPipeSegmenter, check_mediapipe
from preparation.models.model_files import FACE_LANDMARKER, SELFIE_MULTICLASS, SELFIE_SEGMENTATION, find_model
from preparation.segmentation.matting import Network
from preparation.segmentation.onnx_matting import OnnxMatting
from preparation.tracking.landmarks import FaceTracker
from utils.errors import UserError


class HeadModel(NamedTuple):
    """The head model, and where the detector's landmarks lie on it."""

    head: ParametricHead
    places: LandmarkPlaces


@dataclass(frozen=True)
class Networks:
    """Makers of what finds faces and people; called when needed."""

    face_tracker: Callable[[], FaceTracker]
    matting: Callable[[], Network]
    # The 6 classes of a parsing network; None where there is none.
    classes: Callable[[], Network] | None = None
    # Reads the head model; None where there is none, and landmarks alone are tracked.
    head: Callable[[], HeadModel] | None = None
    # For the report.
    names: dict[str, str] = field(default_factory=dict)


class Trackers(NamedTuple):
    """Makers of what tracks a head in pictures that have mattes already."""

    face_tracker: Callable[[], FaceTracker]
    head: Callable[[], HeadModel]


def find_trackers(options: PreparationParams) -> Trackers:
    """Find, or download, detector and head model; without either there is nothing to do. Raises UserError."""
    check_mediapipe()
    landmarker = find_model(FACE_LANDMARKER, options.models, options.quiet)
    head = _find_head(replace(options, tracker="head"), landmarker)
    return Trackers(functools.partial(MediaPipeFaceTracker, landmarker), head)


def find_networks(options: PreparationParams) -> Networks:
    """Find, or download, every model file that is needed, before hours of work. Raises UserError."""
    check_mediapipe()
    landmarker = find_model(FACE_LANDMARKER, options.models, options.quiet)
    matting = _find_matting(options)
    multiclass = _find_parsing(options)
    head = _find_head(options, landmarker)
    names = {
        "landmarks": FACE_LANDMARKER.name,
        "matting": str(options.matting or SELFIE_SEGMENTATION.name),
        "parsing": _parsing_name(options, multiclass, head),
        "head": NAME if head else "none",
    }
    classes = functools.partial(MediaPipeSegmenter, multiclass) if multiclass else None
    return Networks(functools.partial(MediaPipeFaceTracker, landmarker), matting, classes, head, names)


def _find_head(options: PreparationParams, landmarker: Path) -> Callable[[], HeadModel] | None:
    """The head model, which --tracker head and --parsing head insist on; "auto" does without."""
    if not options.wants_head:
        return None
    try:
        path = find_head(options.models, options.quiet)
    except UserError as error:
        if "head" in (options.tracker, options.parsing):
            raise
        if not options.quiet:
            print(f"note: tracking landmarks alone, without a head model: {error}", file=sys.stderr)
        return None

    def read() -> HeadModel:
        head = load_head(path)
        return HeadModel(head, landmark_places(head, landmarker))

    return read


def _parsing_name(options: PreparationParams, multiclass: Path | None, head: object) -> str:
    if not options.wants_parsing:
        return "none"
    if multiclass:
        return SELFIE_MULTICLASS.name
    return "head model and colours" if head and options.parsing != "color" else "jaw line and colours"


def _find_matting(options: PreparationParams) -> Callable[[], Network]:
    if options.matting:
        # A file that will not do is refused now rather than after tracking.
        OnnxMatting(options.matting)
        return functools.partial(OnnxMatting, options.matting)
    segmenter = find_model(SELFIE_SEGMENTATION, options.models, options.quiet)
    return functools.partial(MediaPipeSegmenter, segmenter)


def _find_parsing(options: PreparationParams) -> Path | None:
    """The parsing network, which "network" insists on; "auto" does without where it cannot be had."""
    if options.parsing not in ("auto", "network"):
        return None
    try:
        return find_model(SELFIE_MULTICLASS, options.models, options.quiet)
    except UserError as error:
        if options.parsing == "network":
            raise
        if not options.quiet:
            print(f"note: parsing without a network: {error}", file=sys.stderr)
        return None
