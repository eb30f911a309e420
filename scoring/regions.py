"""Where in a picture the person, the head, the mouth and the eyes are.

Person and head come from the data: the matte, and the matte within the blue of parsing/. Mouth and eyes are
flat boxes in head space, seen through the camera of the frame: the smallest upright rectangle of whole pixels
around each. So a region does not depend on what was rendered, and is the same for every run on a clip.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch

from arguments import ScoringParams
from scene.cameras import Camera
from scene.image_checks import decode_image, head_pixels
from scoring.rendered_set import RenderedSet, ScoredView


class Rectangle(NamedTuple):
    """Whole pixels of an image: rows top to bottom - 1, columns left to right - 1; may be empty."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def mask(self, height: int, width: int) -> np.ndarray:
        """Its pixels as a mask [H, W]."""
        mask = np.zeros((height, width), bool)
        mask[self.slices] = True
        return mask


class FrameRegions(NamedTuple):
    """Regions of one picture: the person is all that was to be rendered, the details are mouth and eyes."""

    person: np.ndarray  # [H, W] bool
    head: np.ndarray  # [H, W] bool
    details: dict[str, Rectangle]


class RegionFinder:
    """Finds the regions of the pictures of one set. `notice` says in one line where the head is not known."""

    def __init__(self, rendered: RenderedSet, params: ScoringParams) -> None:
        self.rendered = rendered
        self._boxes = {"mouth": params.mouth_box, "eyes": params.eyes_box}
        parsings = [rendered.clip.root / "parsing" / f"{view.image_id}.png" for view in rendered.views]
        self._has_parsing = all(path.is_file() for path in parsings)
        self.notice = "" if self._has_parsing else f"{rendered.clip.root}: no parsing/; the head is the matte"

    def find(self, view: ScoredView) -> FrameRegions:
        """Decode the masks of a frame and project its boxes. Raises UserError."""
        clip, record = self.rendered.clip, self.rendered.clip.frames[view.position]
        size = self.rendered.width, self.rendered.height
        matte = person = decode_image(record.mask_path, cv2.IMREAD_GRAYSCALE)
        if self._has_parsing:
            parsing = decode_image(clip.root / "parsing" / f"{view.image_id}.png", cv2.IMREAD_COLOR)
            matte = matte * head_pixels(parsing)
        if self.rendered.config.model.only_head:
            person = matte
        camera = clip.camera(record).scaled(*size)
        details = {name: project_box(camera, box) for name, box in self._boxes.items()}
        return FrameRegions(_is_inside(person, size), _is_inside(matte, size), details)


def project_box(camera: Camera, box: tuple[float, ...]) -> Rectangle:
    """Find the rectangle of an image around a flat box in the world: x from, to, y from, to, z.

    Cut off at the image's border; empty where the box is outside or behind the camera.
    """
    x0, x1, y0, y1, z = box
    corners = torch.tensor([[x, y, z] for x in (x0, x1) for y in (y0, y1)])  # [4, 3]
    x, y, depth = camera.project(corners).unbind(1)
    if not (depth > camera.near).all():
        return Rectangle(0, 0, 0, 0)
    x, y = x.clamp(0, camera.width), y.clamp(0, camera.height)
    return Rectangle(*(math.floor(v.min()) for v in (x, y)), *(math.ceil(v.max()) for v in (x, y)))


def _is_inside(matte: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a matte [h, w] of 8 bits to `size` (width, height): the mask [H, W] of what is over one half."""
    return cv2.resize(matte, size, interpolation=cv2.INTER_AREA) > 127
