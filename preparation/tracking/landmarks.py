"""Landmarks and expression coefficients: what a detector finds in a frame, and the track of a whole clip.

`FaceTracker` is all that the rest knows of the detector; `models/mediapipe_networks.py` has MediaPipe's.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

# A frame with a smaller share of the clip's median sharpness is dropped.
BLURRED = 0.15

# Why frames are dropped.
NO_FACE, TWO_FACES, OUTSIDE_FRAME = "no face", "two faces", "face leaves the frame"
REPEATED, BLUR = "repeated frame", "blur"


class Face(NamedTuple):
    """One face; landmarks as parts of the frame's sides, z in the unit of x, smaller is nearer."""

    landmarks: np.ndarray  # [P, 3] float32
    coefficients: np.ndarray  # [E] float32


class FaceTracker(Protocol):
    """Finds the faces of a frame; one is used by one thread at a time."""

    coefficient_names: tuple[str, ...]

    def find(self, frame: np.ndarray) -> list[Face]: ...  # [H, W, 3] uint8 RGB

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class LandmarkTrack:
    """The faces of a clip. Rows of frames that are in `dropped` hold NaN or must not be used."""

    # Pixels of the upright video.
    landmarks: np.ndarray  # [F, P, 3] float32
    coefficients: np.ndarray  # [F, E] float32
    sharpness: np.ndarray  # [F] float32, relative
    coefficient_names: tuple[str, ...]
    # Reasons by frame.
    dropped: dict[int, str] = field(default_factory=dict)
    # Small grey pictures that tell one shot from another: of the frames, and of the faces laid flat.
    thumbnails: np.ndarray | None = None  # [F, 16, 16] uint8
    chips: np.ndarray | None = None  # [F, 32, 32] uint8

    @property
    def num_frames(self) -> int:
        return len(self.landmarks)

    @property
    def kept(self) -> np.ndarray:  # [F] bool
        """Which frames have a usable face."""
        kept = np.ones(self.num_frames, bool)
        kept[list(self.dropped)] = False
        return kept


def drop_blurred(track: LandmarkTrack) -> LandmarkTrack:
    """Drop the frames whose sharpness is far below the median of the clip."""
    if not track.kept.any():
        return track
    median = float(np.median(track.sharpness[track.kept]))
    blurred = np.flatnonzero(track.kept & (track.sharpness < BLURRED * median))
    reasons = {int(i): f"{BLUR} (sharpness {track.sharpness[i] / median:.2f} of the median)" for i in blurred}
    return replace(track, dropped=track.dropped | reasons)
