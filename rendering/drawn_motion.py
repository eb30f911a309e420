"""What an avatar's face did in the views of a set, for other programs."""

from pathlib import Path

import numpy as np

from rendering.driving.live_link import write_live_link
from rendering.driving.sequence import DrivingSequence
from scene.avatar import Avatar
from scene.cameras import OPENGL_TO_OPENCV
from scene.views import Drive


class DrawnMotion:
    """Collects what drives the head, view after view."""

    def __init__(self, avatar: Avatar, rate: float) -> None:
        self._avatar, self._rate = avatar, rate
        self._expressions: list[np.ndarray] = []
        self._rotations: list[np.ndarray] = []

    def add(self, drive: Drive) -> None:
        """Take the next view. A head whose pose is not known looks straight ahead."""
        self._expressions.append(drive.expression.numpy(force=True))
        rotation = np.eye(3)
        if drive.head_pose is not None:
            rotation = OPENGL_TO_OPENCV[:3, :3] @ drive.head_pose[:3, :3].numpy(force=True)
        self._rotations.append(rotation)

    def write_csv(self, path: Path) -> None:
        """Write a CSV of Live Link Face. Raises UserError where no coefficient has one of ARKit's names."""
        names, motion = self._avatar.expression_names, np.stack(self._expressions)
        sequence = DrivingSequence(path, names, motion, self._rate, np.stack(self._rotations))
        write_live_link(path, sequence)
