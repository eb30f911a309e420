"""The focal length that is assumed where none is given.

A talking head hardly tells it: a longer lens with the camera farther away gives almost the same pictures.
What is wrong about it ends up in the depth of the head, alike in every frame.
"""

import numpy as np

from preparation.head_frame import FACE_HEIGHT

PHONE = (
    0.8  # of the longer side: a phone's main camera, some 28 mm equivalent, less what stabilisation cuts off
)
CROPPED_DISTANCE = 3.5  # head units, 1.3 m: a camera in a studio
NEAREST = 1.2  # head units: nobody films a face from closer than 45 cm
_FULL_ASPECT = 1.3  # a wider (or higher) picture is a camera's own


def assume_focal(width: int, height: int, face_height: float) -> tuple[float, str]:
    """Return a focal length in pixels, and where it comes from. face_height: forehead to chin, pixels."""
    longer = max(width, height)
    near = NEAREST * face_height / FACE_HEIGHT
    if longer / min(width, height) >= _FULL_ASPECT:
        focal = PHONE * longer
        if focal >= near:
            return float(focal), f"assumed: {PHONE:g} x the longer side, a phone's main camera"
    focal = CROPPED_DISTANCE * face_height / FACE_HEIGHT
    focal = float(np.clip(focal, near, None))
    return focal, f"assumed: as if the camera were {CROPPED_DISTANCE:g} head units (1.3 m) away"
