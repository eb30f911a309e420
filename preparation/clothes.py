"""The torso followed through the files of a data set."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from preparation.files import read_image
from preparation.head_pose import Camera
from preparation.parsing import TORSO
from preparation.rigid import Poses, project
from preparation.torso import TorsoMotion, track_torso

BELOW_CHIN = np.array([[0.0, -0.45, 0.0]])  # head units: the torso begins there at the latest
_SOLID = 240  # of a matte, 0 to 255


def follow_clothes(
    images: Sequence[Path],
    masks: Sequence[Path],
    parsings: Sequence[Path],
    poses: Poses,
    camera: Camera,
    quiet: bool,
) -> TorsoMotion | None:
    """Follow what is red in the parsing maps, else the matte below the chin; None where neither will do."""
    lines = project(poses.apply(BELOW_CHIN), camera.focal, camera.center)[:, 0, 1]  # [F] pixels

    def read_region(row: int) -> np.ndarray:
        is_solid = read_image(masks[row], cv2.IMREAD_GRAYSCALE) > _SOLID
        if parsings[row].exists():
            is_torso = is_solid & (read_image(parsings[row]) == TORSO).all(axis=-1)
            if is_torso.any():
                return is_torso
        return is_solid & (np.arange(len(is_solid))[:, None] > lines[row])

    distance = float(np.median(poses.translations[:, 2]))
    return track_torso(lambda row: read_image(images[row]), read_region, len(images), camera, distance, quiet)
