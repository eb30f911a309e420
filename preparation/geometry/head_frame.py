"""The head frame: where a head's landmarks lie in it, so that every clip is told in the same units.

Origin between the ears, x to the image's right, y up, z out of the face. A unit is such that forehead to chin
is 0.48, with the mouth shut; a head's radius is then about 0.3.
"""

import numpy as np

from preparation.geometry.landmark_names import CHIN, FOREHEAD_TOP, LEFT_EAR, RIGHT_EAR, STABLE_PAIRS
from preparation.geometry.rigid import Poses, Similarity, align

# Head units, forehead to chin.
FACE_HEIGHT = 0.48
# Head units, from the outline's points in front of the ears to between the ears.
EARS = np.array([0, -0.025, -0.05])


def to_head_frame(landmarks: np.ndarray) -> Similarity:
    """Find the similarity that takes a person's landmarks [478, 3] to the head frame."""
    right = _mirror_normal(landmarks[STABLE_PAIRS])
    height = landmarks[FOREHEAD_TOP] - landmarks[CHIN]
    up = height - (height @ right) * right
    up /= np.linalg.norm(up)
    rotation = np.stack([right, up, np.cross(right, up)])
    turned = landmarks @ rotation.T * (FACE_HEIGHT / np.linalg.norm(height))
    origin = (turned[RIGHT_EAR] + turned[LEFT_EAR]) / 2 + EARS
    origin[0] = np.median(turned[STABLE_PAIRS, 0].mean(axis=1))
    return Similarity(np.float64(FACE_HEIGHT / np.linalg.norm(height)), rotation, -origin)


def rebase(poses: Poses, change: Similarity) -> Poses:
    """Express poses of a head in the frame that `change` takes its points to; pictures stay the same."""
    rotations = poses.rotations @ change.rotation.T
    translations = change.scale * poses.translations - rotations @ change.translation
    return Poses(rotations, translations)


def _mirror_normal(pairs: np.ndarray) -> np.ndarray:  # [S, 2, 3] (right, left) -> [3]
    """The normal, towards the left of the person, of the plane that best mirrors one side onto the other."""
    across = (pairs[:, 1] - pairs[:, 0]).mean(axis=0)
    across /= np.linalg.norm(across)
    mirror = np.eye(3) - 2 * np.outer(across, across)
    mirrored = pairs[:, ::-1] @ mirror
    rotation = align(mirrored.reshape(-1, 3), pairs.reshape(-1, 3)).rotation
    # A reflection: its eigenvalues are -1, 1, 1.
    values, vectors = np.linalg.eig(rotation @ mirror)
    normal = np.real(vectors[:, np.argmin(np.real(values))])
    return normal * np.sign(normal @ across)
