"""Is the picture upright? A phone's clip whose turn got lost lies on its side or stands on its head."""

from collections.abc import Callable, Iterable

import numpy as np

from preparation.geometry.landmark_names import CHIN, FOREHEAD_TOP
from preparation.tracking.landmarks import FaceTracker, LandmarkTrack
from utils.errors import UserError

# Frames that are looked at, and the share of them that must show one upright face.
NUM_FRAMES, SHARE = 8, 0.5
# Degrees between the face's long axis and the vertical.
TILT = 45.0


def turn_needed(frames: Iterable[np.ndarray], make_tracker: Callable[[], FaceTracker]) -> int:
    """The turn, in degrees clockwise, after which most frames [H, W, 3] show one upright face.

    0 where they do now, or no turn helps.
    """
    frames = list(frames)
    tracker = make_tracker()
    try:
        counts = {
            turn: sum(_shows_upright_face(np.rot90(frame, -turn // 90), tracker) for frame in frames)
            for turn in (0, 90, 180, 270)
        }
    finally:
        tracker.close()
    best = max(counts, key=counts.__getitem__)
    return best if counts[0] < SHARE * len(frames) <= counts[best] else 0


def _shows_upright_face(frame: np.ndarray, tracker: FaceTracker) -> bool:
    faces = tracker.find(np.ascontiguousarray(frame))
    if len(faces) != 1:
        return False
    height, width = frame.shape[:2]
    x, y = (faces[0].landmarks[CHIN, :2] - faces[0].landmarks[FOREHEAD_TOP, :2]) * (width, height)
    return abs(np.rad2deg(np.arctan2(x, y))) < TILT


def check_upright(track: LandmarkTrack, name: str) -> None:
    """Refuse a clip whose faces were found, but tilted by more than heads are. Raises UserError."""
    landmarks = track.landmarks[track.kept]
    x, y = np.median(landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD_TOP, :2], axis=0)
    tilt = abs(np.rad2deg(np.arctan2(x, y)))
    if tilt > TILT:
        raise UserError(
            f"{name}: the face is tilted by {tilt:.0f} degrees; expected {TILT:g} at most: --rotate it"
        )
