"""The files of a data set, in the layout that `scene/dataset_readers.py` reads (DESIGN.md, section 3)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preparation.files import write_arrays
from preparation.head_pose import Camera
from preparation.rigid import Poses
from utils.json_files import write_json

_OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
DIGITS = 7


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set are."""

    root: Path

    def image(self, image_id: int) -> Path:
        return self.root / "ori_imgs" / f"{image_id}.jpg"

    def mask(self, image_id: int) -> Path:
        return self.root / "mask" / f"{image_id + 1}.png"  # off by one, as in the published data

    def parsing(self, image_id: int) -> Path:
        return self.root / "parsing" / f"{image_id}.png"

    @property
    def transforms(self) -> Path:
        return self.root / "transforms.json"

    @property
    def tracking(self) -> Path:
        return self.root / "tracking.npz"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def work(self) -> Path:
        return self.root / ".prepare"


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
    size: int | tuple[int, int],
    camera: Camera,
    image_ids: np.ndarray,  # [F]
    poses: Poses,
    expressions: np.ndarray,  # [F, E]
    names: tuple[str, ...] | None,
    seconds: np.ndarray | None = None,  # [F], in the video
    torso: np.ndarray | None = None,  # [F, 4, 4]
    source: dict | None = None,
) -> None:
    """Write transforms.json. size: side, or width and height, in pixels."""
    width, height = (size, size) if isinstance(size, int) else size
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
    if source:
        document["source"] = source
    entries = []
    for row, (image_id, matrix) in enumerate(zip(image_ids.tolist(), camera_to_world(poses), strict=True)):
        entry = {"img_id": image_id}
        if seconds is not None:
            entry["time"] = round(float(seconds[row]), 4)
        entry["exp_ori"] = np.round(expressions[row].astype(np.float64), 6).tolist()
        entry["transform_matrix"] = np.round(matrix, DIGITS).tolist()
        if torso is not None:
            entry["torso_transform"] = np.round(torso[row], DIGITS).tolist()
        entries.append(entry)
    write_json(path, document | {"frames": entries}, indent=None, allow_nan=False)


def write_tracking(path: Path, landmarks: np.ndarray, pixels: np.ndarray, image_ids: np.ndarray) -> None:
    """Write what training does not need: the person's landmarks (head units) and those of every frame."""
    write_arrays(
        path,
        canonical=landmarks.astype(np.float32),  # [478, 3]
        pixels=pixels.astype(np.float32),  # [F, 478, 2]
        image_ids=image_ids,
    )
