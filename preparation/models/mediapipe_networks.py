"""MediaPipe's Face Landmarker and image segmenters behind the interfaces of `tracking/landmarks.py` and
`segmentation/matting.py`.

The only module that imports mediapipe (tasks API; 1.2.2 has no legacy `solutions`).
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from preparation.tracking.landmarks import Face
from utils.errors import UserError

# The second face tells that the clip shows two people.
MAX_FACES = 2
_INSTALL = "pip install -r requirements-prepare.txt"
_SYSTEM_LIBRARIES = "libegl1 libgles2 libgl1 libglib2.0-0"


class MediaPipeFaceTracker:
    """478 landmarks, iris included, and the 52 ARKit coefficients."""

    def __init__(self, model: Path) -> None:
        mediapipe, vision, base_options = _import_mediapipe()
        options = vision.FaceLandmarkerOptions(
            base_options=base_options(model_asset_buffer=model.read_bytes()),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=MAX_FACES,
            output_face_blendshapes=True,
        )
        with _silenced():
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        self._image = lambda frame: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame)
        self.coefficient_names = COEFFICIENT_NAMES

    def find(self, frame: np.ndarray) -> list[Face]:
        found = self._landmarker.detect(self._image(np.ascontiguousarray(frame)))
        faces = []
        for landmarks, coefficients in zip(found.face_landmarks, found.face_blendshapes, strict=True):
            points = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
            scores = {category.category_name: category.score for category in coefficients}
            faces.append(Face(points, np.array([scores[name] for name in COEFFICIENT_NAMES], np.float32)))
        return faces

    def close(self) -> None:
        self._landmarker.close()


class MediaPipeFaceFollower:
    """One face from picture to picture: the 52 ARKit coefficients, and how the head is turned.

    For live use: pictures must come in order of time, and landmarks are filtered, with a lag.
    """

    def __init__(self, model: Path) -> None:
        mediapipe, vision, base_options = _import_mediapipe()
        options = vision.FaceLandmarkerOptions(
            base_options=base_options(model_asset_buffer=model.read_bytes()),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with _silenced():
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        self._image = lambda frame: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame)

    def find(self, frame: np.ndarray, milliseconds: int) -> tuple[dict[str, float], np.ndarray] | None:
        """Coefficients by name, and the rotation [3, 3] from the head to the camera (OpenGL axes); None where
        no face is seen. `frame` is [H, W, 3] uint8 RGB."""
        found = self._landmarker.detect_for_video(self._image(np.ascontiguousarray(frame)), milliseconds)
        if not found.face_blendshapes:
            return None
        scores = {category.category_name: category.score for category in found.face_blendshapes[0]}
        # A scale is in it, too.
        u, _, v = np.linalg.svd(np.asarray(found.facial_transformation_matrixes[0], np.float64)[:3, :3])
        return {name: scores[name] for name in COEFFICIENT_NAMES}, u @ v

    def close(self) -> None:
        self._landmarker.close()


class MediaPipeSegmenter:
    """Confidence of each class of a segmentation model."""

    def __init__(self, model: Path) -> None:
        mediapipe, vision, base_options = _import_mediapipe()
        options = vision.ImageSegmenterOptions(
            base_options=base_options(model_asset_buffer=model.read_bytes()),
            running_mode=vision.RunningMode.IMAGE,
            output_confidence_masks=True,
            output_category_mask=False,
        )
        with _silenced():
            self._segmenter = vision.ImageSegmenter.create_from_options(options)
        self._image = lambda frame: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame)

    def __call__(self, frame: np.ndarray) -> np.ndarray:  # [H, W, 3] uint8 -> [C, H, W] float32
        masks = self._segmenter.segment(self._image(np.ascontiguousarray(frame))).confidence_masks
        return np.stack([np.array(mask.numpy_view(), np.float32).reshape(frame.shape[:2]) for mask in masks])

    def close(self) -> None:
        self._segmenter.close()


def check_mediapipe() -> None:
    """Raise UserError, with the line that mends the machine, where mediapipe cannot be used."""
    _import_mediapipe()


def _import_mediapipe():
    """Import on first use: it takes half a second."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        with _silenced():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
    except ModuleNotFoundError as error:
        raise UserError(f"no module named {error.name}: {_INSTALL}") from None
    except (ImportError, OSError) as error:
        # What is missing is a shared library of the system.
        library = str(error).partition(":")[0]
        raise UserError(
            f"mediapipe: {library} is missing; on Debian and Ubuntu: apt-get install {_SYSTEM_LIBRARIES}"
        ) from None
    return mediapipe, vision, BaseOptions


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the native library's start-up lines, which name no problem of the user's, off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


_SIDES = ("Left", "Right")
COEFFICIENT_NAMES = (
    "_neutral",
    *(f"browDown{side}" for side in _SIDES),
    "browInnerUp",
    *(f"browOuterUp{side}" for side in _SIDES),
    "cheekPuff",
    *(f"cheekSquint{side}" for side in _SIDES),
    *(f"eye{what}{side}" for what in ("Blink", "LookDown", "LookIn", "LookOut") for side in _SIDES),
    *(f"eye{what}{side}" for what in ("LookUp", "Squint", "Wide") for side in _SIDES),
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    *(f"mouth{what}{side}" for what in ("Dimple", "Frown") for side in _SIDES),
    "mouthFunnel",
    "mouthLeft",
    *(f"mouth{what}{side}" for what in ("LowerDown", "Press") for side in _SIDES),
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    *(f"mouth{what}{side}" for what in ("Smile", "Stretch", "UpperUp") for side in _SIDES),
    *(f"noseSneer{side}" for side in _SIDES),
)
