"""The tracker's fast path: a face followed from picture to picture, for viewer.py."""

from pathlib import Path

from preparation.models.mediapipe_networks import MediaPipeFaceFollower, check_mediapipe
from preparation.models.model_files import FACE_LANDMARKER, find_model


def make_follower(models: Path | None, quiet: bool) -> MediaPipeFaceFollower:
    """Find, or download, the landmarker and start it. Raises UserError where MediaPipe or the model is
    missing."""
    check_mediapipe()
    return MediaPipeFaceFollower(find_model(FACE_LANDMARKER, models, quiet))
