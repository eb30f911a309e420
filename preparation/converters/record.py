"""What every reader returns: where each frame's image and matte are, its camera, and its expression."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from preparation.converters.files import read_npz
from preparation.data_set.images_and_arrays import read_image
from utils.errors import UserError
from utils.image_headers import read_image_header

# Head units: 0.48 from forehead to chin are 17.8 cm.
UNITS_PER_METRE = 2.7
_SHARED_SUFFIXES = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}


class Picture(NamedTuple):
    """A picture file, or an array of an .npz file."""

    path: Path
    key: str | None = None
    # Whether its values are labels, 0 for what is none of the person.
    is_labels: bool = False

    @property
    def name(self) -> str:
        return self.path.name if self.key is None else f"{self.path.name}:{self.key}"

    def read(self, mode: int = cv2.IMREAD_COLOR) -> np.ndarray:  # [H, W, 3 or 4] or [H, W]
        """The pixels, RGB; `mode` is OpenCV's and means nothing for an array. Raises UserError."""
        if self.key is None:
            return read_image(self.path, mode)
        pixels = read_npz(self.path, self.key)[self.key]
        # A batch of one.
        pixels = pixels[0] if pixels.ndim > 2 and len(pixels) == 1 else pixels
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
            found = f"{pixels.dtype} of shape {list(pixels.shape)}"
            raise UserError(f"{self.path}: {self.key}: expected 8-bit pixels, found {found}")
        return np.ascontiguousarray(pixels)

    def size(self) -> tuple[int, int]:
        """Width and height, from the header alone where there is one. Raises UserError."""
        if self.key is None and self.path.suffix.lower() in _SHARED_SUFFIXES:
            try:
                return read_image_header(self.path)[:2]
            except (OSError, ValueError) as error:
                raise UserError(f"{self.path}: {error}; expected a complete image") from None
        return self.read(cv2.IMREAD_UNCHANGED).shape[1::-1]

    def lacks_alpha(self) -> bool:
        """Whether the header of a JPEG or PNG says that there is none; False where it is not known."""
        if self.key is not None or self.path.suffix.lower() not in _SHARED_SUFFIXES:
            return False
        return read_image_header(self.path).channels in ("gray", "RGB", "CMYK")

    def suffix_if_plain(self) -> str | None:
        """The suffix under which the file can be copied bit for bit: 8-bit RGB, JPEG or PNG; else None."""
        suffix = _SHARED_SUFFIXES.get(self.path.suffix.lower()) if self.key is None else None
        if suffix is None:
            return None
        header = read_image_header(self.path)
        return suffix if (header.channels, header.bits) == ("RGB", 8) else None


class ForeignFrame(NamedTuple):
    """One picture of someone else's data set."""

    image_id: int
    image: Picture
    # None: the alpha of the image.
    matte: Picture | None
    # Where the pose, and where the expression was found, for messages.
    sources: tuple[Path, Path]
    # The head's pose, OpenCV axes, in the source's unit of length.
    world_to_camera: np.ndarray  # [4, 4]
    expression: np.ndarray  # [E]
    intrinsics: np.ndarray  # [3, 3] pixels
    parsing: Picture | None = None
    # Width and height that the intrinsics are told for, where the source says so.
    size_told: tuple[int, int] | None = None

    def refused_without_matte(self) -> UserError:
        """The one line for a picture whose matte is nowhere."""
        return UserError(f"{self.image.path}: no mask file beside it; expected a matte in its alpha channel")

    def read_matte(self) -> np.ndarray:  # [H, W] uint8
        """The matte: a file, the alpha of the image, or all that is labelled. Raises UserError."""
        if self.matte is None:
            pixels = self.image.read(cv2.IMREAD_UNCHANGED)
            if pixels.ndim != 3 or pixels.shape[2] != 4:
                raise self.refused_without_matte()
            return eight_bits(pixels[..., 3])
        pixels = self.matte.read(cv2.IMREAD_GRAYSCALE)
        pixels = pixels if pixels.ndim == 2 else pixels[..., 0]
        return (
            np.where(pixels > 0, np.uint8(255), np.uint8(0)) if self.matte.is_labels else eight_bits(pixels)
        )


class ForeignClip(NamedTuple):
    """All of it."""

    frames: list[ForeignFrame]
    names: tuple[str, ...]
    # Where head poses come from, in words.
    head_pose: str = "the cameras"
    # Head units of one unit of length.
    scale: float = UNITS_PER_METRE
    # From a parsing map's pixels and the matte to the head [H, W]; None: the map is in our colours already.
    find_head: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    notes: tuple[str, ...] = ()

    def without_some_parsing(self) -> "ForeignClip":
        """Parsing maps of every frame, or of none, with a note where some have one."""
        num_lacking = sum(frame.parsing is None for frame in self.frames)
        if not num_lacking:
            return self
        frames = [frame._replace(parsing=None) for frame in self.frames]
        note = f"parsing maps: left out, {num_lacking} of {len(frames)} frames have none"
        return self._replace(frames=frames, notes=self.notes + (note,) * (num_lacking < len(frames)))


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8, of uint8 or uint16: 65535 is 255."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def numbered_names(**sizes: int) -> tuple[str, ...]:
    """`exp0 exp1 ... jaw0 ...`, of coefficients that have no names of their own."""

    def numbered() -> Iterator[str]:
        for name, size in sizes.items():
            yield from (f"{name}{i}" for i in range(size))

    return tuple(numbered())


def intrinsics_of(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:  # [3, 3]
    """The matrix of a pinhole."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def opencv_from_opengl(camera_to_world: np.ndarray) -> np.ndarray:  # [4, 4] -> [4, 4]
    """World-to-camera with OpenCV axes, of camera-to-world with OpenGL axes."""
    return rigid_inverse(camera_to_world @ np.diag([1.0, -1, -1, 1]))


def rigid_inverse(matrix: np.ndarray) -> np.ndarray:  # [4, 4]
    """Invert what should be rigid; NaN where it can't be, which the writer refuses by name."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full((4, 4), np.nan)


# Labels of face-parsing networks trained on CelebAMask-HQ: 1 to 13 are skin to lips, with brows, eyes,
# glasses, ears, earrings and nose; 14 to 16 neck, necklace and clothes; 17 and 18 hair and hat.
_HEAD_LABELS = np.isin(np.arange(256), [*range(1, 14), 17, 18])


def head_of_labels(parsing: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W] bool
    """The head in a map of CelebAMask-HQ's 19 labels."""
    return _HEAD_LABELS[parsing if parsing.ndim == 2 else parsing[..., 0]]
