"""Zones of a head's skin: face, skull, ears and neck, by place on the mean head."""

import numpy as np

from parametric_head.model import ParametricHead

# Zones of the skin.
NO_ZONE, FACE, SKULL, EAR, NECK = range(5)
# Places on the mean head, cm: an ear's box; hair grows above the ears, above the forehead and behind.
_EAR_SIDE, _EAR_Z, _EAR_Y = 6.8, (-3.0, 2.1), (-2.6, 4.2)
_ABOVE_EARS, FOREHEAD, _HAIRLINE, _BEHIND = 4.2, 7.5, 8.5, -2.5
# Nape and throat from the jaw down to where shoulders begin.
_NAPE, _CHIN, _JAW_FRONT, _JAW_BACK = -3.0, -9.0, 8.0, 2.0
NECK_END = -12.0


def zones(head: ParametricHead) -> np.ndarray:  # [V] uint8
    """Tell skull, ears, neck and face apart, by place on the mean head."""
    x, y, z = head.neutral.T
    zone = np.full(len(x), NO_ZONE, np.uint8)
    for name in ("face", "head_neck"):
        zone[head.part(name)] = FACE
    is_ear = (abs(x) > _EAR_SIDE) & _between(z, _EAR_Z) & _between(y, _EAR_Y)
    is_hairy = (y > np.where(z > FOREHEAD, _HAIRLINE, _ABOVE_EARS)) | ((z < _BEHIND) & (y > _NAPE))
    is_skin = zone == FACE
    zone[is_skin & (above_jaw(head.neutral) < 0)] = NECK
    zone[is_skin & is_hairy] = SKULL
    zone[is_skin & is_ear] = EAR
    zone[y < NECK_END] = NO_ZONE
    return zone


def above_jaw(points: np.ndarray) -> np.ndarray:  # [N] cm
    """Height above a line that falls from the nape and below the ears to below the chin."""
    return points[:, 1] - np.interp(points[:, 2], [_JAW_BACK, _JAW_FRONT], [_NAPE, _CHIN])


def _between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values > limits[0]) & (values < limits[1])
