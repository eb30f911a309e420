"""The torso followed through the files of a data set, in the making or finished.

What is red in the parsing maps is torso, else the matte below the chin.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import DIGITS, poses_from
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, project
from preparation.segmentation.parsing import TORSO
from preparation.torso.motion import TorsoMotion, track_torso
from scene.dataset_readers import read_clip
from utils.errors import UserError
from utils.json_files import read_json, write_json

# Head units: the torso begins there at the latest.
BELOW_CHIN = np.array([[0.0, -0.45, 0.0]])
# Of a matte, 0 to 255: what is at least nearly opaque.
_SOLID = 240


class FrameFiles(NamedTuple):
    """The files of a data set's frames; parsing maps need not be there."""

    images: Sequence[Path]
    masks: Sequence[Path]
    parsings: Sequence[Path]


def follow_clothes(
    files: FrameFiles, poses: Poses, camera: Camera, quiet: bool = False
) -> TorsoMotion | None:
    """Follow the torso; None where its clothes show too few corners."""
    lines = project(poses.apply(BELOW_CHIN), camera.focal, camera.center)[:, 0, 1]  # [F] pixels

    def read_frame(row: int) -> np.ndarray:
        return read_image(files.images[row])

    def read_region(row: int) -> np.ndarray:
        is_solid = read_image(files.masks[row], cv2.IMREAD_GRAYSCALE) > _SOLID
        if files.parsings[row].exists():
            is_torso = is_solid & (read_image(files.parsings[row]) == TORSO).all(axis=-1)
            if is_torso.any():
                return is_torso
        return is_solid & (np.arange(len(is_solid))[:, None] > lines[row])

    distance = float(np.median(poses.translations[:, 2]))
    return track_torso(read_frame, read_region, len(files.images), camera, distance, quiet)


def add_torso(
    root: Path, overwrite: bool = False, quiet: bool = False, check_data: bool = True
) -> TorsoMotion:
    """Measure the torso of a finished data set and write it into its transforms.json.

    Raises UserError where it is there already, or the clothes cannot be followed.
    """
    clip, layout = read_clip(root, check_data=check_data), Layout(root)
    document = read_json(layout.transforms)
    if any("torso_transform" in entry for entry in document["frames"]) and not overwrite:
        raise UserError(f"{layout.transforms}: has torso_transform already; replace it by --overwrite")
    files = FrameFiles(
        [frame.image_path for frame in clip.frames],
        [frame.mask_path for frame in clip.frames],
        [layout.parsing(frame.image_id) for frame in clip.frames],
    )
    poses = poses_from(np.stack([frame.camera_to_world for frame in clip.frames]))
    camera = Camera((clip.fx * clip.fy) ** 0.5, np.array([clip.cx, clip.cy]))
    motion = follow_clothes(files, poses, camera, quiet)
    if motion is None:
        raise UserError(f"{root}: the clothes show too few corners to follow; nothing was written")
    ids = (frame.image_id for frame in clip.frames)
    by_id = dict(zip(ids, np.round(motion.transforms, DIGITS).tolist(), strict=True))
    for entry in document["frames"]:
        entry["torso_transform"] = by_id[entry["img_id"]]
    write_json(layout.transforms, document, indent=None, allow_nan=False)
    layout.remove_leftovers()
    return motion
