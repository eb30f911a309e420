"""Parsing maps by the head model: the mesh says where face, ears and neck are, colours say what hangs around.

Every pixel of the person takes its place from the mesh: its height above the line from the chin along the
jaw, below the ear and around the nape, in cm; where no mesh is drawn, that of the nearest pixel where it is.
Above the line is head: face and ears where there is mesh, hair (or a hat) where there is none. Below it place
and colour decide between hair that hangs, the neck's skin and clothes, as a sum of log odds. Scores are found
on a smaller picture; the outline is the matte's.
"""

from typing import NamedTuple

import cv2
import numpy as np

from parametric_head.drawing import draw_mesh, interpolate
from parametric_head.mesh import facing_camera
from parametric_head.model import ParametricHead
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import align, project
from preparation.segmentation.learned_colors import LearnedColors
from preparation.segmentation.parsing import connected, paint, picture_edge

# The lower edge of jaw and ear seen from the side, nape to chin: places (z, y) on the mean head, cm.
# fmt: off
JAW_LINE = np.array([
    (-20, -3.0), (0.5, -2.6), (1.5, -3.4), (2.2, -5.0), (3.0, -5.6), (4.5, -6.0),
    (5.2, -6.4), (6.8, -7.1), (8.2, -7.7), (9.8, -8.0), (20, -8.0),
])
# fmt: on
_PARTS = ("face", "head_neck")
# Every so many vertices of the face tell the head's scale.
_STRIDE = 8
# No colour is impossible for a kind, and neighbouring pixels are no independent evidence.
_FLOOR, _WEIGHT = 1e-3, 0.8
# Side of the window in which colours vote together, and what is too thin to hang; cm.
_WINDOW, _THIN = 0.6, 0.5
# The throat reaches so far below the line, cm.
_CHEST = -4.0
# Learning, cm: the mouth is so far above the line; half the reach of the chin's shadow below it; clothes lie
# lower; hair rarely hangs so far aside.
_MOUTH, _SHADOW, _LOW, _ASIDE = 5.0, 1.0, -6.0, 14.0
# The longer side of the pictures on which scores are found, pixels.
_COARSE = 256
# Places on the mean head, z in cm.
_EARS, _THROAT, _CHEEKS, _CHIN = 0.5, 3.0, 6.0, 8.0
# So far above the line is head whatever its colour, cm.
_SURE = 2.0
# From the mesh, cm: on its edge, and as far as the mesh may be wrong. What is smaller, cm^2, is a hole.
_TOUCHING, _NEAR, _HOLE = 0.05, 2.0, 4


class Places(NamedTuple):
    """Where each pixel lies on the head, or beside it."""

    # Above the line of jaw and nape, cm; beside the mesh that of its nearest pixel.
    height: np.ndarray  # [H, W] float32
    # From the mesh, on the picture, cm; zero on it.
    distance: np.ndarray  # [H, W] float32
    # Above the brows.
    is_crown: np.ndarray  # [H, W] bool
    # From the mesh's middle to the left or right, cm.
    aside: np.ndarray  # [H, W] float32
    # Cm behind to in front of the ears, on the mean head.
    front: np.ndarray  # [H, W] float32
    pixels_per_cm: float


class HeadParser:
    """Parses by the person's mesh and by colours that it has learned from some frames of the clip."""

    def __init__(self, head: ParametricHead, camera: Camera) -> None:
        self._camera = camera
        self._triangles = head.triangles_of(*_PARTS)
        y, z = head.neutral[:, 1], head.neutral[:, 2]
        height = y - np.interp(z, JAW_LINE[:, 0], JAW_LINE[:, 1])
        above_brows = y - y[head.landmarks68[17:27]].mean()
        self._values = np.stack([height, above_brows, z], axis=1).astype(np.float32)  # [V, 3]
        self._face = np.arange(len(y))[head.part("face")][::_STRIDE]
        self._neutral_face = head.neutral[self._face].astype(np.float64)
        self._colors = LearnedColors()

    def learn(self, frame: np.ndarray, matte: np.ndarray, vertices: np.ndarray) -> None:
        """Count a frame's colours [H, W, 3] uint8; matte: [H, W]; vertices: the mesh, as for a call."""
        frame, matte, places = self._coarse(frame, matte, vertices)
        solid = cv2.erode((matte > 0.9).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        on_mesh = cv2.erode((places.distance == 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        is_front = solid & on_mesh & (places.front > _CHEEKS)
        is_shoulder = solid & (places.height < 0) & (places.aside > _ASIDE)
        regions = {
            "hair": solid & places.is_crown & ~on_mesh,
            # Hair may hide ears and cheeks, a beard the rest.
            "skin": is_front & ~places.is_crown & (places.height > _MOUTH),
            "clothes": is_shoulder,
        }
        self._colors.learn(frame, regions)
        hair, skin, _ = cv2.split(self._colors.log_likelihoods(frame, _FLOOR))
        is_chin = is_front & (places.height > 0) & (places.height < _MOUTH)
        is_bearded = (hair > skin)[is_chin].mean() > 0.5 if is_chin.any() else True
        is_shadow = solid & on_mesh & (places.front > _THROAT) & (abs(places.height + _SHADOW) < _SHADOW)
        # In front of the chest hang hair, a bare neck, a tie: what looks like neither hair nor skin is cloth.
        is_new = np.maximum(hair, skin) < np.log(2 * _FLOOR)
        is_chest = solid & ~is_shoulder & (places.height < _LOW)
        regions = {"clothes": is_chest & is_new}
        if not is_bearded:
            regions["skin"] = is_chin | is_shadow
        self._colors.learn(frame, regions)

    def __call__(self, frame: np.ndarray, matte: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Paint the map [H, W, 3] of a frame [H, W, 3] uint8.

        matte: [H, W]. vertices: the person's mesh in this frame, [V, 3] in camera coordinates.
        """
        coarse_frame, coarse_matte, places = self._coarse(frame, matte, vertices)
        colors = self._color_evidence(coarse_frame, coarse_matte, places.pixels_per_cm)
        hair, skin, clothes = cv2.split(_enlarge(_prior(places) + colors, matte.shape))
        height = _enlarge(places.height, matte.shape)
        pixels_per_cm = places.pixels_per_cm * matte.shape[0] / coarse_matte.shape[0]
        is_person = matte > 0.02
        is_hair = (hair > skin) & (hair > clothes)
        distance = _enlarge(places.distance, matte.shape)
        is_face = (distance < _TOUCHING) | ((distance < _NEAR) & (skin > clothes))
        above = is_person & (((height > 0) & is_face) | (height > _SURE))
        # Hair hangs from hair or from a beard, not from the jaw's skin.
        roots = above & (_enlarge(colors[..., 0] - colors[..., 1], matte.shape) > 0)
        head = above | _hanging(is_person & is_hair & ~above, roots, pixels_per_cm)
        head = _one_piece(head, height, pixels_per_cm) & is_person
        return paint(matte, head, _neck(is_person & ~head, head, skin >= clothes))

    def _coarse(
        self, frame: np.ndarray, matte: np.ndarray, vertices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, Places]:
        """Frame, matte and places at about `_COARSE` pixels: windows of votes are wider than its pixels."""
        height, width = matte.shape
        scale = min(1.0, _COARSE / max(height, width))
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        frame, matte = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (frame, matte))
        camera = Camera(self._camera.focal * scale, np.asarray(self._camera.center) * scale)
        return frame, matte, self._locate(vertices, camera, size)

    def _locate(self, vertices: np.ndarray, camera: Camera, size: tuple[int, int]) -> Places:
        """Draw the mesh, and take the place of what it does not cover from its nearest pixel."""
        face = vertices[self._face].astype(np.float64)
        pixels_per_cm = float(camera.focal * align(self._neutral_face, face).scale / face[:, 2].mean())
        seen = facing_camera(vertices, self._triangles)
        middle = project(vertices.mean(axis=0), camera.focal, camera.center)[0]
        aside = (abs(np.arange(size[0]) + 0.5 - middle) / pixels_per_cm).astype(np.float32)
        aside = np.broadcast_to(aside, size[::-1])
        drawn = draw_mesh(vertices, seen, camera.focal, camera.center, size)
        is_beside = drawn.triangle < 0
        if is_beside.all():
            nowhere = np.full(is_beside.shape, np.inf, np.float32)
            return Places(-nowhere, nowhere, ~is_beside, aside, nowhere, pixels_per_cm)
        values = interpolate(drawn, seen, self._values)
        distance, labels = cv2.distanceTransformWithLabels(
            is_beside.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest = np.zeros((labels.max() + 1, 3), np.float32)
        nearest[labels[~is_beside]] = values[~is_beside]
        height, above_brows, front = cv2.split(np.take(nearest, labels, axis=0))
        distance /= pixels_per_cm
        return Places(height, distance, above_brows > 0, aside, front, pixels_per_cm)

    def _color_evidence(self, frame: np.ndarray, matte: np.ndarray, pixels_per_cm: float) -> np.ndarray:
        """Log likelihoods of colours [H, W, 3] by kind, mean of a window; the background does not vote."""
        window = (max(1, round(_WINDOW * pixels_per_cm)),) * 2
        solid = (matte > 0.5).astype(np.float32)
        votes = self._colors.log_likelihoods(frame, _FLOOR) * solid[..., None]
        total = cv2.boxFilter(solid, -1, window, normalize=False)
        return _WEIGHT * cv2.boxFilter(votes, -1, window, normalize=False) / np.maximum(total, 1)[..., None]


def _enlarge(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _prior(places: Places) -> np.ndarray:  # [H, W, 3]
    """Log odds of hair, skin and clothes by place, up to a constant."""
    height, distance = np.clip(places.height, -6, 30), places.distance
    # Beside and behind the neck and over the chest is some hair, the less the lower; on the throat little.
    may_hang = ((distance > 0) & (places.front < _CHIN)) | (places.front < _EARS) | (height < _CHEST)
    hair = np.where(may_hang, 0.5 + 0.35 * height, -1.5 + 0.2 * height) + np.maximum(1.65 * height, 0)
    # The mesh's own neck may be too thin by a centimetre.
    skin = -np.clip(np.maximum(0.6 * (distance - 1), 0.25 * (places.aside - 7)), 0, 2.5)
    # Shoulders may come close to a chin from the side.
    clothes = np.clip(-0.8 * (height - distance + 5), -4, 1)
    return np.stack([hair, skin, clothes], axis=-1).astype(np.float32)


def _hanging(is_hair: np.ndarray, roots: np.ndarray, pixels_per_cm: float) -> np.ndarray:
    """Hair below the line that is connected with the roots by more than a thread."""
    kernel = np.ones((max(1, round(_THIN * pixels_per_cm)),) * 2, np.uint8)
    thick_roots, thick = (
        cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
        for mask in (roots, is_hair | roots)
    )
    return connected(thick, thick_roots) & is_hair


def _one_piece(head: np.ndarray, height: np.ndarray, pixels_per_cm: float) -> np.ndarray:
    """The head's largest piece, without holes."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(head.astype(np.uint8))
    if count > 2:
        head = labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~head).astype(np.uint8), connectivity=4)
    x, y, w, h, area = stats.T
    is_hole = (x > 0) & (y > 0) & (x + w < head.shape[1]) & (y + h < head.shape[0])
    # A throat that long hair encloses is no hole.
    heights = np.bincount(labels.ravel(), np.clip(height, -30, 30).ravel(), count)
    is_hole &= (heights > 0) | (area < _HOLE * pixels_per_cm**2)
    is_hole[0] = False
    return head | is_hole[labels]


def _neck(rest: np.ndarray, head: np.ndarray, is_skin: np.ndarray) -> np.ndarray:
    """Skin that is connected with the head, and what is enclosed by it."""
    neck = connected((rest & is_skin) | head, head) & rest
    # Clothes reach the picture's edge.
    clothes = rest & ~neck
    return neck | (clothes & ~connected(clothes, picture_edge(rest.shape)))
