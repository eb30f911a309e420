"""The fitted mesh as a few training frames see it."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from parametric_head.drawing import draw_depth
from scene.dataset import Frame, FrameDataset
from training.on_scaffold.depth import draw_depth_there
from utils.sampling import evenly_spread
from utils.threads import in_parallel

# Views that tell thickness and colours, and more that tell what only some expression shows.
MOST_VIEWS, MOST_EXPRESSIONS = 32, 16
# A coefficient that moves by less shows nothing new.
_LEAST_RANGE = 0.2
# Head units that a vertex may lie behind the drawn surface and still be seen.
_TOLERANCE = 0.008
# Of the picture's size: as far outside of the matte a point may lie, as fits are not exact.
_NEAR = 0.012


class View(NamedTuple):
    """One frame."""

    pose: np.ndarray  # [3, 4] world-to-camera
    focal: np.ndarray  # [2] pixels
    center: np.ndarray  # [2]
    expression: np.ndarray  # [E]
    image: np.ndarray  # [H, W, 3] float32
    matte: np.ndarray  # [H, W] float32
    # Where the mesh is drawn.
    device: torch.device

    @property
    def eye(self) -> np.ndarray:
        """Where the camera is."""
        return -self.pose[:, :3].T @ self.pose[:, 3]

    def to_camera(self, points: np.ndarray) -> np.ndarray:  # [..., 3]
        return points @ self.pose[:, :3].T + self.pose[:, 3]

    def project(self, points: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 2] pixels
        points = self.to_camera(points)
        return self.focal * points[..., :2] / points[..., 2:] + self.center

    def sample(self, picture: np.ndarray, pixels: np.ndarray, outside: float) -> np.ndarray:
        """Bilinear values of a picture at pixels [N, 2]; beyond it `outside`."""
        x, y = (pixels.reshape(-1, 2) - 0.5).astype(np.float32).T
        values = _remap(picture, x, y, outside)
        return values.reshape(*pixels.shape[:-1], *picture.shape[2:])

    def is_inside(self, pixels: np.ndarray) -> np.ndarray:
        """Which pixels [..., 2] are on the picture."""
        height, width = self.matte.shape
        return ((pixels > 0) & (pixels < [width, height])).all(axis=-1)

    def visible(self, points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Which vertices [V] of a mesh are seen."""
        height, width = self.matte.shape
        seen = self.to_camera(points)
        # One focal length draws: what is left of the other goes into y.
        squeezed = seen * [1, self.focal[1] / self.focal[0], 1]
        drawing = self.focal[0], self.center, (width, height)
        if self.device.type == "cpu":
            depth = draw_depth(squeezed, triangles, *drawing)
        else:
            mesh = (torch.from_numpy(part).to(self.device) for part in (squeezed, triangles))
            depth = draw_depth_there(*mesh, *drawing).cpu().numpy()
        depth[np.isinf(depth)] = 1e3
        surface = self.sample(depth, self.project(points), outside=0.0)
        return seen[:, 2] < surface + _TOLERANCE


def choose_views(frames: FrameDataset) -> list[View]:
    """Some frames, spread over the clip, those that turn most, and those that show most of an expression."""
    rotations = np.stack([camera.world_to_camera[:3, :3].cpu().numpy() for camera in frames.cameras])
    # A camera before the face looks along -z.
    yaw = np.arctan2(-rotations[:, 0, 2], -rotations[:, 2, 2])
    extreme = np.argsort(yaw)[evenly_spread(len(yaw), MOST_VIEWS // 2)]
    in_time = evenly_spread(len(yaw), MOST_VIEWS // 2)
    chosen = np.unique(np.concatenate([extreme, in_time, _strongest(frames.expressions.cpu().numpy())]))
    return in_parallel(lambda i: _view(frames[i]), chosen.tolist())


def _strongest(expressions: np.ndarray) -> np.ndarray:
    """Of the coefficients [F, E] that vary most, the frames in which each is largest."""
    spread = np.ptp(expressions, axis=0)
    columns = np.argsort(-spread)[:MOST_EXPRESSIONS]
    return expressions[:, columns[spread[columns] > _LEAST_RANGE]].argmax(axis=0)


def _view(frame: Frame) -> View:
    camera = frame.camera
    return View(
        camera.world_to_camera[:3].cpu().numpy().astype(np.float64),
        np.array([camera.fx, camera.fy]),
        np.array([camera.cx, camera.cy]),
        frame.expression.cpu().numpy(),
        np.ascontiguousarray(frame.image.permute(1, 2, 0).cpu().numpy()),
        frame.matte.cpu().numpy(),
        frame.matte.device,
    )


def inside_share(views: Sequence[View], points: np.ndarray) -> np.ndarray:
    """In what share of the pictures that show a point [N, 3] it lies on the person, or near; 0 for none."""

    def seen_by(view: View) -> tuple[np.ndarray, np.ndarray]:
        pixels = view.project(points)
        is_shown = view.is_inside(pixels)
        size = 2 * round(_NEAR * max(view.matte.shape)) + 1
        matte = cv2.dilate(view.matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return is_shown & (view.sample(matte, pixels, 0.0) > 0.5), is_shown

    inside, shown = (np.sum(seen, axis=0) for seen in zip(*in_parallel(seen_by, views), strict=True))
    return inside / np.maximum(shown, 1)


def _remap(picture: np.ndarray, x: np.ndarray, y: np.ndarray, outside: float) -> np.ndarray:
    # OpenCV takes no more than 2^15 rows or columns.
    count = len(x)
    columns = 1 << 14
    rows = -(-count // columns)
    padded = np.zeros((2, rows * columns), np.float32)
    padded[:, :count] = x, y
    x, y = padded.reshape(2, rows, columns)
    values = cv2.remap(
        picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=[outside] * 4
    )
    return values.reshape(rows * columns, *picture.shape[2:])[:count]
