"""A synthetic talking head whose poses, focal length and expressions are known.

Its landmarks are a real face's mean ones (tests/preparation/face.npz, from a clip in the public domain). A
picture of it is drawn by our own rasterizer: Gaussians on a smooth relief through the landmarks, with
freckles to hold on to.
"""

import functools
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator

from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, exp_so3, project
from preparation.tracking.landmarks import Face

FOCAL, SIZE, DISTANCE = 900.0, 256, 3.4
NAMES = ("jawOpen", "eyeBlinkLeft", "browInnerUp")
BACKGROUND = (60, 90, 70)


@functools.cache
def mean_landmarks() -> np.ndarray:  # [478, 3] head units
    with np.load(Path(__file__).parent / "face.npz") as stored:
        return stored["landmarks"].astype(np.float64)


def moving_poses(num_frames: int, seed: int = 0, degrees: float = 12.0) -> Poses:
    """Smooth random motion: turns by up to about `degrees`, shifts by a tenth of the head."""
    random = np.random.default_rng(seed)
    time = np.arange(num_frames)[:, None] / 25
    waves = [
        np.sin(2 * np.pi * (random.uniform(0.2, 0.9, 3) * time + random.uniform(0, 1, 3))) for _ in range(4)
    ]
    turns = np.deg2rad(degrees) * (waves[0] + 0.3 * waves[1]) * [1, 1, 0.5]
    shifts = 0.03 * (waves[2] + 0.5 * waves[3]) * [1, 0.7, 2]
    # Head axes (y up, z out of the face) in a camera that looks at it.
    upright = np.diag([1.0, -1.0, -1.0])
    return Poses(exp_so3(turns) @ upright, shifts + np.array([0, 0, DISTANCE]))


def camera(size: int = SIZE) -> Camera:
    return Camera(FOCAL * size / SIZE, np.full(2, size / 2))


def observe(
    poses: Poses, view: Camera, noise: float = 0.0, outliers: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Landmarks [F, 478, 3] in pixels as a detector gives them: z relative, less sure than x and y."""
    random = np.random.default_rng(seed)
    points = poses.apply(mean_landmarks())
    pixels = project(points, view.focal, view.center)
    depth = (points[..., 2:] - poses.translations[:, None, 2:]) * view.focal / poses.translations[:, None, 2:]
    landmarks = np.concatenate([pixels, depth], axis=-1)
    landmarks += noise * random.normal(size=landmarks.shape) * [1, 1, 3]
    is_wild = random.uniform(size=landmarks.shape[:2]) < outliers
    landmarks[is_wild] += random.normal(scale=30 * max(noise, 0.2), size=(int(is_wild.sum()), 3))
    return landmarks


def expressions(num_frames: int) -> np.ndarray:  # [F, 3] in [0, 1]
    time = np.arange(num_frames)[:, None] / 25
    return 0.5 + 0.4 * np.sin(2 * np.pi * time * [0.5, 0.9, 0.3] + [0, 1, 2])


@functools.cache
def _splats():
    import torch

    from diff_gaussian_rasterization import Splats

    landmarks, step = mean_landmarks()[:468], 0.006
    depth_at = CloughTocher2DInterpolator(landmarks[:, :2], landmarks[:, 2])
    x, y = np.meshgrid(*(np.arange(*np.percentile(landmarks[:, i], [0, 100]), step) for i in (0, 1)))
    freckles = cv2.GaussianBlur(np.random.default_rng(3).uniform(size=x.shape), (0, 0), 1.2)
    freckles = np.clip(0.5 + (freckles - freckles.mean()) / (4 * freckles.std()), 0, 1)
    depth = depth_at(x, y)
    is_face = np.isfinite(depth)
    means = np.stack([x, y, depth], axis=-1)[is_face]
    colors = freckles[is_face][:, None] * [0.95, 0.75, 0.6]
    quaternions = np.tile([1.0, 0, 0, 0], (len(means), 1))
    scales = np.tile([0.6 * step, 0.6 * step, 0.3 * step], (len(means), 1))
    arrays = (means, np.full(len(means), 0.98), scales, quaternions, colors)
    means, opacities, scales, rotations, colors = (torch.tensor(a, dtype=torch.float32) for a in arrays)
    return Splats(means, opacities, scales, rotations, colors=colors)


def draw(poses: Poses, frame: int, view: Camera, size: int = SIZE) -> np.ndarray:  # [H, W, 3] uint8
    """The picture of a frame, drawn by our rasterizer."""
    import torch

    from gaussian_renderer import render
    from preparation.data_set.transforms import camera_to_world
    from scene.cameras import Camera as SceneCamera

    matrix = camera_to_world(poses.select(slice(frame, frame + 1)))[0]
    seen_from = SceneCamera.from_camera_to_world(matrix, view.focal, view.focal, *view.center, size, size)
    background = torch.tensor(BACKGROUND, dtype=torch.float32) / 255
    with torch.no_grad():
        image = render(seen_from, _splats(), background).image
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:  # [F] degrees
    """Between rotations [F, 3, 3]."""
    cosine = (np.einsum("fij,fij->f", first, second) - 1) / 2
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


class StubTracker:
    """Knows the landmarks of every frame by the number that is coded in the frame's upper left pixels."""

    coefficient_names = NAMES

    def __init__(self, landmarks: np.ndarray, coefficients: np.ndarray, faces: dict[int, int] | None = None):
        self._landmarks, self._coefficients = landmarks, coefficients
        # By frame: how many faces it finds there, if not one.
        self._num_faces = faces or {}
        self.looked_at: list[int] = []

    def find(self, frame: np.ndarray) -> list[Face]:
        height, width = frame.shape[:2]
        index = read_number(frame)
        self.looked_at.append(index)
        parts = (self._landmarks[index] / [width, height, width]).astype(np.float32)
        return [Face(parts, self._coefficients[index].astype(np.float32))] * self._num_faces.get(index, 1)

    def close(self) -> None:
        pass


# A number is a row of black and white squares, which survive compression.
_BITS, _CELL = 10, 12


def write_number(frame: np.ndarray, number: int) -> None:
    """Paint a number into the upper left corner of a frame."""
    for bit in range(_BITS):
        frame[:_CELL, bit * _CELL : (bit + 1) * _CELL] = 255 * (number >> bit & 1)


def read_number(frame: np.ndarray) -> int:
    centers = frame[_CELL // 2, _CELL // 2 : _BITS * _CELL : _CELL].mean(axis=-1)
    return sum(1 << bit for bit, value in enumerate(centers) if value > 127)


def stub_matting(frame: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [1, H, W]
    """What differs from the background is person."""
    difference = np.abs(frame.astype(np.float32) - BACKGROUND).max(axis=-1)
    matte = np.clip(difference / 40, 0, 1)
    return cv2.GaussianBlur(matte, (0, 0), 1)[None].astype(np.float32)
