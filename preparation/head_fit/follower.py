"""The head model laid over one frame, corrected by the flow from the clip's texture to the frame's.

Flow is weighted by the structure that it can hold on to (Lucas and Kanade 1981); the detector's landmarks
pull beside it. The detector misjudges how far a head is turned, so its landmarks have a pose of their own,
near the pixels'.
"""

import copy
from typing import NamedTuple

import cv2
import numpy as np

from parametric_head.person import PersonMesh
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, log_so3, project
from preparation.head_fit.atlas import Atlas
from preparation.head_fit.bounded_steps import bounded_step
from preparation.head_fit.expression_prior import expression_precision, tidy_gaze
from preparation.head_fit.frame_fit import landmark_equations
from preparation.head_fit.head_fit import Fit
from preparation.head_fit.landmark_model import points_of_mesh, projection_slopes
from preparation.tracking.face_texture import facing, look_up, normalized_part, texture_flow

# Gauss-Newton steps.
_STEPS = 2
# The cosine between skin and view from which on a texel is seen, and from which on it counts in full.
_LEAST_FACING, _FULL_FACING = 0.25, 0.55
# One in so many rows and columns of texels takes part.
_EVERY = 3
# What a normalised texture is off by where the model's shapes are good, and where they are not.
_UPPER_SIGMA, _LOWER_SIGMA = 1.0, 2.5
# Texture difference and flow (texels) beyond which a texel counts less and less: hair, hands, glare.
_STRANGE, _FAR_FLOW = 0.5, 3.0
# Texels over which structure is averaged.
_STRUCTURE_SIGMA = 2.0
# Between the landmarks' pose and the pixels': radians, shares of the distance.
_TURN_TIE, _SHIFT_TIE = 0.1, 0.05
# Radians and shares of the distance: a pose that moves farther has lost its way.
_LOST = 0.2


class Observed(NamedTuple):
    """What is known of frames beside their pixels."""

    landmarks: np.ndarray  # [F, 478, 2] pixels
    expected: np.ndarray  # [F, E]
    sigmas: np.ndarray  # [478] pixels


class Laid(NamedTuple):
    """A frame laid onto the atlas."""

    texture: np.ndarray  # [T], NaN where not seen
    points: np.ndarray  # [T, 3] of the camera
    turned: np.ndarray  # [T, 3] as the points, without the shift
    pixels: np.ndarray  # [T, 2]
    facing: np.ndarray  # [T]


class Refined(NamedTuple):
    """One frame, refined."""

    fit: Fit
    texture: np.ndarray | None  # [T]
    flow: np.ndarray | None  # [T, 2] texels
    # Mean length on the rigid part, texels.
    rigid_flow: float
    # From the camera, in the head frame.
    view: np.ndarray  # [3]
    is_rejected: bool


class Follower:
    """Lays frames onto an atlas and follows its texture."""

    def __init__(self, mesh: PersonMesh, atlas: Atlas, camera: Camera) -> None:
        self.atlas = atlas
        # The median one, once there is one.
        self.texture: np.ndarray | None = None  # [T]
        self._mesh, self._camera = mesh, camera
        self._points = points_of_mesh(mesh)
        self._precision = expression_precision(mesh.head)
        chosen = np.flatnonzero((atlas.rows % _EVERY == 0) & (atlas.columns % _EVERY == 0))
        self._chosen = chosen
        self._slopes = np.ascontiguousarray(atlas.shapes[:, chosen].transpose(1, 2, 0))  # [C, 3, E]
        self._information: np.ndarray | None = None  # [C, 2, 2]

    def with_texture(self, texture: np.ndarray, atlas: Atlas | None = None) -> "Follower":
        """Follow this texture; on an atlas that differs from this one in depth only, where one is given."""
        other = copy.copy(self)
        other.atlas, other.texture = atlas or self.atlas, texture
        other._information = other._structure()[self._chosen]
        return other

    def refine(
        self, frame: np.ndarray, fit: Fit, observed: Observed, by_landmarks: Fit | None = None
    ) -> Refined:
        """Refine one frame [H, W, 3] uint8; fits and `observed` have one row.

        Where that leads far away from what the landmarks say (`fit` if not given), this is kept.
        """
        found, by_landmarks = fit, by_landmarks or fit
        for _ in range(_STEPS):
            found = self._step(frame, found, observed)
        turn = log_so3(found.poses.rotations[0] @ by_landmarks.poses.rotations[0].T)
        shift = found.poses.translations[0] - by_landmarks.poses.translations[0]
        # NaN is rejected too.
        distance = abs(by_landmarks.poses.translations[0, 2])
        is_rejected = not np.hypot(np.linalg.norm(turn), np.linalg.norm(shift) / distance) < _LOST
        found = by_landmarks if is_rejected else found
        texture = self.look(frame, found).texture
        view = found.poses.rotations[0].T @ found.poses.translations[0]
        flow = self.flow(texture)
        return Refined(found, texture, flow, self.rigid_flow(texture, flow), view, is_rejected)

    def look(self, frame: np.ndarray, fit: Fit) -> Laid:
        """Look a frame up at the texels as they are in a fit of one row."""
        rotation, translation = fit.poses.rotations[0], fit.poses.translations[0]
        turned = self.atlas.at(fit.coefficients[0]) @ rotation.T
        points = turned + translation
        pixels = project(points, self._camera.focal, self._camera.center)
        picture, corner = normalized_part(frame, pixels, self._camera.focal, translation[2])
        texture, is_inside = look_up(picture, pixels - corner)
        towards_us = facing(self.atlas.normals, points, rotation)
        texture[~(is_inside & (towards_us > _LEAST_FACING))] = np.nan
        return Laid(texture, points, turned, pixels, towards_us)

    def flow(self, texture: np.ndarray) -> np.ndarray:  # [T] -> [T, 2]
        """Optical flow in texels, right and down, from the median texture."""
        # What is not seen agrees.
        filled = np.where(np.isfinite(texture), texture, self.texture)
        grids = [self.atlas.image(np.nan_to_num(values)) for values in (self.texture, filled)]
        return texture_flow(*grids)[self.atlas.rows, self.atlas.columns]

    def rigid_flow(self, texture: np.ndarray, flow: np.ndarray) -> float:
        """The mean length of the flow on the rigid part, in texels, where it is seen."""
        chosen = self.atlas.is_rigid & np.isfinite(texture) & np.isfinite(self.texture)
        return float(np.linalg.norm(flow[chosen], axis=1).mean()) if chosen.any() else np.nan

    def _structure(self) -> np.ndarray:
        """What each texel can hold on to, as an inverse covariance of its flow. [T, 2, 2]"""
        picture = self.atlas.image(np.nan_to_num(self.texture))
        by_x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
        by_y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
        products = np.stack([by_x * by_x, by_x * by_y, by_x * by_y, by_y * by_y], axis=-1)
        products = cv2.GaussianBlur(products, (0, 0), _STRUCTURE_SIGMA)[self.atlas.rows, self.atlas.columns]
        sigma = np.where(self.atlas.is_upper, _UPPER_SIGMA, _LOWER_SIGMA)
        return products.reshape(-1, 2, 2) * (_EVERY / sigma[:, None, None]) ** 2

    def _step(self, frame: np.ndarray, fit: Fit, observed: Observed) -> Fit:
        """One Gauss-Newton step of pose, the landmarks' pose, and expression."""
        laid = self.look(frame, fit)
        flow = self.flow(laid.texture)
        by_pixels, right_pixels = self._flow_equations(laid, flow, fit)
        poses, own = fit.poses, fit.landmark_poses
        camera = self._camera
        by_landmarks, right_landmarks = landmark_equations(
            self._points, observed.landmarks, own, fit.coefficients, observed.sigmas, camera
        )
        num_unknowns = 12 + fit.coefficients.shape[1]
        pixel_rows = np.r_[0:6, 12:num_unknowns]
        system, right = np.zeros((num_unknowns, num_unknowns)), np.zeros(num_unknowns)
        system[np.ix_(pixel_rows, pixel_rows)] += by_pixels
        right[pixel_rows] += right_pixels
        system[6:, 6:] += by_landmarks[0]
        right[6:] += right_landmarks[0]
        _tie_poses(system, right, poses, own)
        system[12:, 12:] += self._precision
        right[12:] -= self._precision @ (fit.coefficients - observed.expected)[0]
        motion = bounded_step(system[None], right[None], fit.coefficients)
        coefficients = np.clip(fit.coefficients + motion[:, 12:], 0, 1)
        return Fit(
            poses.moved(motion[:, :3], motion[:, 3:6]),
            tidy_gaze(coefficients, self._mesh.head),
            own.moved(motion[:, 6:9], motion[:, 9:12]),
        )

    def _flow_equations(self, laid: Laid, flow: np.ndarray, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
        """Normal equations of pose and coefficients by the flow of the chosen texels."""
        chosen, atlas = self._chosen, self.atlas
        weight = self._trust(laid, flow)[chosen]
        # Pixels by texels: how the grid lies in the picture.
        picture = atlas.image(laid.pixels, np.nan)
        by_row, by_column = np.gradient(picture, axis=0), np.gradient(picture, axis=1)
        at = atlas.rows[chosen], atlas.columns[chosen]
        grid = np.stack([by_column[at], by_row[at]], axis=-1).astype(np.float64)  # [C, 2, 2]
        determinant = grid[:, 0, 0] * grid[:, 1, 1] - grid[:, 0, 1] * grid[:, 1, 0]
        is_good = np.abs(np.nan_to_num(determinant)) > 0.05
        inverse = np.stack([grid[:, 1, 1], -grid[:, 0, 1], -grid[:, 1, 0], grid[:, 0, 0]], axis=-1)
        inverse = inverse.reshape(-1, 2, 2) / np.where(is_good, determinant, 1)[:, None, None]
        used = np.flatnonzero(is_good & (weight > 1e-3))
        x, y, z = laid.points[chosen[used]].T
        by_camera = inverse[used] @ projection_slopes(x, y, z, self._camera.focal)  # texels
        turned = laid.turned[chosen[used]]
        # The derivative by a turn w of the head, w x p, against a row r: r . (w x p) = w . (p x r).
        by_turn = np.cross(turned[:, None], by_camera)
        by_coefficient = (by_camera @ fit.poses.rotations[0]).astype(np.float32) @ self._slopes[used]
        jacobian = np.concatenate([by_turn, by_camera, by_coefficient], axis=-1)
        information = self._information[used] * weight[used, None, None]
        flat = jacobian.reshape(-1, jacobian.shape[-1])
        weighted = (information @ jacobian).reshape(flat.shape).T
        return weighted @ flat, weighted @ flow[chosen[used]].reshape(-1)

    def _trust(self, laid: Laid, flow: np.ndarray) -> np.ndarray:
        """What each texel counts: seen well, near, like the median texture once the flow is undone. [T]"""
        atlas = self.atlas
        place = (np.stack([atlas.columns, atlas.rows], axis=1) + flow).astype(np.float32)[None]
        undone = cv2.remap(atlas.image(np.nan_to_num(laid.texture)), place, None, cv2.INTER_LINEAR)[0]
        strange = (undone - np.nan_to_num(self.texture)) / _STRANGE
        is_seen = np.isfinite(laid.texture) & np.isfinite(self.texture)
        seen_well = np.clip((laid.facing - _LEAST_FACING) / (_FULL_FACING - _LEAST_FACING), 0, 1)
        far = (flow**2).sum(axis=1) / _FAR_FLOW**2
        return is_seen * seen_well / ((1 + strange**2) * (1 + far))


def _tie_poses(system: np.ndarray, right: np.ndarray, poses: Poses, own: Poses) -> None:
    """Hold the landmarks' pose (unknowns 6 to 11) near the pixels' (0 to 5)."""
    distance = poses.translations[0, 2]
    apart = np.concatenate(
        [log_so3(own.rotations[0] @ poses.rotations[0].T), own.translations[0] - poses.translations[0]]
    )
    stiffness = np.repeat([_TURN_TIE**-2.0, (_SHIFT_TIE * distance) ** -2.0], 3)
    first, second = np.arange(6), np.arange(6, 12)
    system[first, first] += stiffness
    system[second, second] += stiffness
    system[first, second] -= stiffness
    system[second, first] -= stiffness
    right[first] += stiffness * apart
    right[second] -= stiffness * apart
