"""One frame laid onto the texture of a face.

The pose is moved until the frame's texture agrees with the median one (Lucas and Kanade 1981, with the
derivatives of a rigid motion of a known relief in place of a free displacement, as in direct visual
odometry). Pixels are compared after local normalisation (mean and contrast over some pixels removed), which
takes out shading.
"""

from typing import NamedTuple

import cv2
import numpy as np

from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, log_so3, project
from preparation.tracking.face_texture import facing, look_up, normalized_part, texture_flow
from preparation.tracking.relief import Relief

NUM_STEPS = 6
# Radians, head units: a pose that moves farther has lost its way.
MAX_MOTION = 0.12
# Radians, head units: 0.05 pixels.
_CONVERGED = 1e-4
# The cosine between surface and camera below which a texel is left out.
_MIN_FACING = 0.25
_MIN_TEXELS = 200
# One in so many texels takes part in finding the pose; neighbours tell the same.
_THINNED = 2


class Aligned(NamedTuple):
    """A frame laid onto the texture."""

    rotation: np.ndarray  # [3, 3]
    translation: np.ndarray  # [3]
    # As seen by this frame.
    texture: np.ndarray  # [T]
    # From the median texture to this one: texels, right and down.
    flow: np.ndarray  # [T, 2]
    # The pose is the one that came in.
    is_rejected: bool


class _Prepared(NamedTuple):
    """The part of a frame around the face."""

    # Normalised grey level and its derivatives by x and y.
    picture: np.ndarray  # [h, w, 3] float32
    # In pixels of the frame.
    corner: np.ndarray  # [2]


class Aligner:
    """Lays frames onto a median texture."""

    def __init__(
        self, relief: Relief, camera: Camera, distance: float, texture: np.ndarray | None = None
    ) -> None:
        self.relief = relief
        # Typical, in head units.
        self.distance = distance
        self.texture = texture  # [T]
        self._camera = camera

    def with_relief(self, relief: Relief) -> "Aligner":
        return Aligner(relief, self._camera, self.distance, self.texture)

    def with_texture(self, texture: np.ndarray) -> "Aligner":
        return Aligner(self.relief, self._camera, self.distance, texture)

    def align_frame(self, frame: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> Aligned:
        """Refine the pose of a frame [H, W, 3] uint8, unless that leads astray."""
        prepared = self._prepare(frame, rotation, translation)
        new_rotation, new_translation = self._align(prepared, rotation, translation)
        motion = [*log_so3(new_rotation @ rotation.T), *(new_translation - translation)]
        # NaN is rejected too.
        is_rejected = not np.linalg.norm(motion) < MAX_MOTION
        if is_rejected:
            new_rotation, new_translation = rotation, translation
        texture = self._unwarp(prepared, new_rotation, new_translation)[:, 0]
        return Aligned(new_rotation, new_translation, texture, self.flow(texture), is_rejected)

    def unwrap(self, frame: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:  # [T]
        """The normalised texture of a frame [H, W, 3] uint8, NaN where it is not seen."""
        return self._unwarp(self._prepare(frame, rotation, translation), rotation, translation)[:, 0]

    def flow(self, texture: np.ndarray) -> np.ndarray:  # [T] -> [T, 2]
        """Optical flow in texels, right and down, from the median texture."""
        is_known = np.isfinite(texture) & np.isfinite(self.texture)
        grids = [self.relief.image(np.where(is_known, values, 0)) for values in (self.texture, texture)]
        return texture_flow(*grids)[self.relief.rows, self.relief.columns]

    def _unwarp(self, prepared: _Prepared, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Sample a prepared frame where the relief is seen: [T, 3], NaN where it is not."""
        return self._sample(prepared, self.relief, self.relief.points @ rotation.T + translation, rotation)

    def _prepare(self, frame: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> _Prepared:
        """Normalise the part of a frame [H, W, 3] uint8 around the face locally; append its derivatives."""
        pixels = project(
            self.relief.points @ rotation.T + translation, self._camera.focal, self._camera.center
        )
        normal, corner = normalized_part(frame, pixels, self._camera.focal, self.distance)
        by_x = cv2.Scharr(normal, cv2.CV_32F, 1, 0, scale=1 / 32)
        by_y = cv2.Scharr(normal, cv2.CV_32F, 0, 1, scale=1 / 32)
        return _Prepared(np.dstack([normal, by_x, by_y]), corner)

    def _align(
        self, prepared: _Prepared, rotation: np.ndarray, translation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Move a pose so that its texture agrees with the median one; robust Gauss-Newton steps."""
        relief, texture = self.relief.thinned(_THINNED), self.texture[::_THINNED]
        poses = Poses(rotation[None], translation[None])
        for _ in range(NUM_STEPS):
            turned = relief.points @ poses.rotations[0].T
            points = turned + poses.translations[0]
            value, by_x, by_y = self._sample(prepared, relief, points, poses.rotations[0]).T
            usable = np.isfinite(value) & np.isfinite(texture)
            if usable.sum() < _MIN_TEXELS:
                return rotation, np.full(3, np.nan)
            residual, turned, points = (texture - value)[usable], turned[usable], points[usable]
            scale = 1.4826 * np.median(np.abs(residual)) + 1e-6
            # Cauchy's weights.
            weight = 1 / (1 + (residual / (2 * scale)) ** 2)
            along = self._camera.focal / points[:, 2]
            gx, gy = by_x[usable] * along, by_y[usable] * along
            by_camera = np.column_stack([gx, gy, -(gx * points[:, 0] + gy * points[:, 1]) / points[:, 2]])
            jacobian = np.concatenate([np.cross(turned, by_camera), by_camera], axis=1)  # [T, 6]
            weighted = jacobian * weight[:, None]
            system = weighted.T @ jacobian
            motion = np.linalg.solve(system + 1e-6 * np.diag(np.diag(system)), weighted.T @ residual)
            poses = poses.moved(motion[None, :3], motion[None, 3:])
            if np.abs(motion).max() < _CONVERGED:
                break
        return poses.rotations[0], poses.translations[0]

    def _sample(
        self, prepared: _Prepared, relief: Relief, points: np.ndarray, rotation: np.ndarray
    ) -> np.ndarray:  # [T, 3]
        """Look texels up at camera points [T, 3]; NaN where they face away or lie outside."""
        pixels = project(points, self._camera.focal, self._camera.center) - prepared.corner
        values, is_inside = look_up(prepared.picture, pixels)
        values[~(is_inside & (facing(relief.normals, points, rotation) > _MIN_FACING))] = np.nan
        return values
