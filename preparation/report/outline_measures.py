"""How far the head model's outline is from the matte's, in pixels, by where on the head it is.

Not by the means of `head_fit/outline.py`, which fits it: distances are those of a distance transform.
"""

import cv2
import numpy as np

from parametric_head.drawing import draw_mesh
from parametric_head.model import ParametricHead
from parametric_head.zones import EAR, FACE, NECK, SKULL, zones
from preparation.geometry.camera import Camera

# What has an outline of skin; the skull's is below hair.
_SKIN = {"face": FACE, "ears": EAR, "neck": NECK}
# Points farther apart than this share of the picture's height belong to long hair, a collar, a shoulder.
_SAME_OUTLINE = 0.03
# Pixels from the picture's edge, where there is no outline.
_EDGE = 4


class OutlineGaps:
    """Collects the distances of some frames."""

    def __init__(self, head: ParametricHead, camera: Camera) -> None:
        self._head, self._camera = head, camera
        self._zone = zones(head)
        self._triangles = head.triangles_of("face", "head_neck")
        self._gaps: dict[str, list[np.ndarray]] = {name: [] for name in (*_SKIN, "skull")}
        self._is_near: dict[str, list[np.ndarray]] = {name: [] for name in _SKIN}

    def add(self, vertices: np.ndarray, matte: np.ndarray) -> None:
        """Compare a mesh in camera coordinates [V, 3] with a matte [H, W] uint8."""
        height, width = matte.shape
        camera = self._camera
        drawn = draw_mesh(vertices, self._triangles, camera.focal, camera.center, (width, height))
        contours, _ = cv2.findContours(
            (drawn.triangle >= 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        x, y = np.concatenate([contour[:, 0] for contour in contours] or [np.zeros((0, 2), int)]).T
        is_inside = (np.minimum(x, width - 1 - x) >= _EDGE) & (np.minimum(y, height - 1 - y) >= _EDGE)
        x, y = x[is_inside], y[is_inside]
        corners = self._triangles[drawn.triangle[y, x]]
        zone = self._zone[corners[np.arange(len(x)), drawn.barycentric[y, x].argmax(axis=1)]]
        gap = _signed_distance(matte)[y, x]
        for name, index in _SKIN.items():
            is_near = abs(gap[zone == index]) < _SAME_OUTLINE * height
            self._is_near[name].append(is_near)
            self._gaps[name].append(gap[zone == index][is_near])
        self._gaps["skull"].append(gap[zone == SKULL])

    def summary(self) -> dict[str, dict[str, float]]:
        """Median and 95 % of the distance of face, ears and neck where it is small, and how often that is.

        Of the skull how far it is outside of the matte (95 %). What is never on an outline that is the
        matte's too is missing.
        """
        found = {}
        for name in _SKIN:
            gaps, is_near = np.concatenate(self._gaps[name]), np.concatenate(self._is_near[name])
            if len(gaps):
                found[name] = {
                    "median_px": float(np.median(abs(gaps))),
                    "95_percent_px": float(np.percentile(abs(gaps), 95)),
                    "share": float(is_near.mean()),
                }
        skull = np.concatenate(self._gaps["skull"])
        if len(skull):
            outside = np.maximum(skull, 0)
            found["skull"] = {"outside_95_percent_px": float(np.percentile(outside, 95))}
        return found


def _signed_distance(matte: np.ndarray) -> np.ndarray:  # [H, W]
    """Of a pixel's outer edge from the matte's outline, positive outside of it."""
    is_person = (matte >= 128).astype(np.uint8)
    to_background, to_person = (
        cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for mask in (is_person, 1 - is_person)
    )
    # The person's outermost pixel has a distance of 1 to the background's first.
    return np.where(is_person > 0, 1 - to_background, to_person)
