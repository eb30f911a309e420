"""transforms.json, as `scene/dataset_readers.py` reads it (DESIGN.md, section 3), and tracking.npz."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.data_set.images_and_arrays import write_arrays
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from utils.json_files import write_json

_OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
# Decimal places of matrix entries.
DIGITS = 7


class FrameRows(NamedTuple):
    """What transforms.json says of every frame."""

    image_ids: np.ndarray  # [F]
    poses: Poses
    expressions: np.ndarray  # [F, E]
    # Time in the video.
    seconds: np.ndarray | None = None  # [F]
    torso: np.ndarray | None = None  # [F, 4, 4]


def camera_to_world(poses: Poses) -> np.ndarray:  # [F, 4, 4]
    """Turn head-to-camera poses (OpenCV axes) into camera-to-world matrices (OpenGL axes)."""
    inverse = np.tile(np.eye(4), (len(poses.rotations), 1, 1))
    inverse[:, :3, :3] = poses.rotations.transpose(0, 2, 1)
    inverse[:, :3, 3] = -np.einsum("fji,fj->fi", poses.rotations, poses.translations)
    return inverse @ _OPENCV_TO_OPENGL


def poses_from(matrices: np.ndarray) -> Poses:  # [F, 4, 4]
    """Invert `camera_to_world`."""
    world_to_camera = np.linalg.inv(matrices @ _OPENCV_TO_OPENGL)
    return Poses(world_to_camera[:, :3, :3], world_to_camera[:, :3, 3])


def write_transforms(
    path: Path,
    size: tuple[int, int],
    camera: Camera,
    frames: FrameRows,
    names: tuple[str, ...],
    source: dict,
) -> None:
    """Write transforms.json.

    size: width and height in pixels. names: of the expression coefficients. source: where the data come from.
    """
    width, height = size
    focal_x, focal_y = np.broadcast_to(camera.focal, 2).tolist()
    document = {
        "h": height,
        "w": width,
        "fx": focal_x,
        "fy": focal_y,
        "cx": float(camera.center[0]),
        "cy": float(camera.center[1]),
    }
    if names:
        document["exp_names"] = list(names)
    document |= {"source": source, "frames": _entries(frames)}
    write_json(path, document, indent=None, allow_nan=False)


def _entries(frames: FrameRows) -> list[dict]:
    entries = []
    matrices = camera_to_world(frames.poses)
    for row, (image_id, matrix) in enumerate(zip(frames.image_ids.tolist(), matrices, strict=True)):
        entry = {"img_id": image_id}
        if frames.seconds is not None:
            entry["time"] = round(float(frames.seconds[row]), 4)
        entry["exp_ori"] = np.round(frames.expressions[row].astype(np.float64), 6).tolist()
        entry["transform_matrix"] = np.round(matrix, DIGITS).tolist()
        if frames.torso is not None:
            entry["torso_transform"] = np.round(frames.torso[row], DIGITS).tolist()
        entries.append(entry)
    return entries


def write_tracking(
    path: Path, landmarks: np.ndarray, pixels: np.ndarray, image_ids: np.ndarray, scores: np.ndarray
) -> None:
    """Write what training does not need: landmarks of the person (head units) and of every frame, scores."""
    write_arrays(
        path,
        canonical=landmarks.astype(np.float32),  # [478, 3]
        pixels=pixels.astype(np.float32),  # [F, 478, 2]
        image_ids=image_ids,
        scores=scores.astype(np.float32),  # [F, E] of the detector
    )
