"""Yaw, pitch and roll of a head (radians), and its rotation.

R = Ry(yaw) Rx(pitch) Rz(roll) takes the head's axes to the camera's, both x right in the picture, y up and z
to the viewer: positive yaw turns the nose to the right of the picture, positive pitch down; positive roll
turns the head against the clock.
"""

import numpy as np


def rotations_of(angles: np.ndarray) -> np.ndarray:  # [F, 3] -> [F, 3, 3]
    """Rotations of yaw, pitch, roll."""
    yaw, pitch, roll = np.asarray(angles, np.float64).T
    return _about(yaw, 1) @ _about(pitch, 0) @ _about(roll, 2)


def angles_of(rotations: np.ndarray) -> np.ndarray:  # [F, 3, 3] -> [F, 3]
    """Yaw, pitch and roll of rotations; pitch within 90 degrees."""
    yaw = np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2])
    pitch = np.arcsin(np.clip(-rotations[:, 1, 2], -1, 1))
    roll = np.arctan2(rotations[:, 1, 0], rotations[:, 1, 1])
    return np.stack([yaw, pitch, roll], axis=1)


def usual_rotation(rotations: np.ndarray) -> np.ndarray:  # [F, 3, 3] -> [3, 3]
    """The rotation nearest the median one: no average, which no frame may have had."""
    distance = np.linalg.norm(rotations - np.median(rotations, axis=0), axis=(1, 2))
    return rotations[distance.argmin()]


def _about(angle: np.ndarray, axis: int) -> np.ndarray:  # [F] -> [F, 3, 3]
    rotation = np.zeros((len(angle), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[:, axis, axis] = 1
    rotation[:, first, first] = rotation[:, second, second] = np.cos(angle)
    rotation[:, second, first] = np.sin(angle)
    rotation[:, first, second] = -np.sin(angle)
    return rotation
