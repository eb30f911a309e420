"""Skull, ears and neck of a person, fitted to the mattes of some frames; the face and the poses stay.

Each round draws the person in every frame and looks along the normal of the drawn outline for the matte's
(iterated closest points: Chen and Medioni 1991). What the matte's outline says depends on the place. Ears,
neck and cheeks are skin: both sides count if the outline is near and runs alike, so that neither long hair
nor shoulders pull. Above and behind is hair: there the matte bounds the skull, which is drawn outwards only
weakly, to as far below the outline as hair is thick. Distances are in cm at the place's depth.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from parametric_head.drawing import draw_mesh
from parametric_head.landmarks import NUM_LANDMARKS, LandmarkPlaces
from parametric_head.mesh import facing_camera
from parametric_head.model import ParametricHead
from parametric_head.person import Person
from parametric_head.surface import spread
from parametric_head.zones import FACE, NECK, NO_ZONE, SKULL, zones
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.head_fit.outline_prior import Modes, joined, outline_modes
from utils.progress import Progress

_ROUNDS = 3
# The longer side of the pictures on which outlines are compared, pixels.
_COARSE = 512
# Every so many pixels of an outline count, with so many cm of error; more views than this tell no more.
_STRIDE, _ERROR, _MOST_VIEWS = 3, 0.3, 8
# cm within which the matte's outline is looked for, and within which it may be that of skin.
_REACH, _NEAR = 4.0, 1.5
# Cosine of the angle between two outlines that are the same one.
_ALIKE = 0.75
# Sine of the angle to the neck's axis from which on an outline is a shoulder's.
_SHOULDER = 0.5
# cm beyond which an outline counts less and less (Cauchy's weights).
_TOLERANCE = 0.4
# Thickness of hair, cm; what an outline outside of it weighs, and what one inside of the skull.
_HAIR, _HAIR_WEIGHT, _BOUND_WEIGHT = 1.0, 0.01, 0.3
# Cheeks and chin are known by their landmarks.
_FACE_WEIGHT = 0.2
# Of the pictures from which normals are taken, pixels; near the picture's edge there is no outline.
_BLUR, _EDGE = 2.0, 4


class OutlineViews(NamedTuple):
    """S frames of a clip with known poses, expressions and mattes."""

    # Head units.
    poses: Poses
    coefficients: np.ndarray  # [S, E]
    # [H, W] each, uint8 or 0 to 1.
    mattes: Sequence[np.ndarray]


class _Samples(NamedTuple):
    """Points of an outline that is drawn."""

    corners: np.ndarray  # [N, 3] vertices
    barycentric: np.ndarray  # [N, 3]
    zone: np.ndarray  # [N]
    pixels: np.ndarray  # [N, 2]
    normals: np.ndarray  # [N, 2] out of the head


def choose_views(poses: Poses, count: int = 24) -> np.ndarray:
    """Choose frames that turn as differently as they can, sorted: farthest-point sampling of rotations."""
    count = min(count, len(poses.rotations))
    flat = poses.rotations.reshape(-1, 9)
    distance = np.full(len(flat), np.inf)
    farthest = int(np.linalg.norm(flat - flat.mean(axis=0), axis=1).argmin())
    chosen = []
    for _ in range(count):
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(flat - flat[farthest], axis=1))
        distance[farthest] = -1
        farthest = int(distance.argmax())
    return np.sort(chosen)


def fit_outline(
    head: ParametricHead, person: Person, views: OutlineViews, camera: Camera, quiet: bool = False
) -> Person:
    """Fit skull, ears and neck to the outline of the mattes.

    The person that is returned has further places after MediaPipe's 478, none on the face, and moves them;
    the others keep their offsets. Places that `person` has beyond the 478 are forgotten. camera: of the
    mattes. Raises ValueError where numbers of frames differ.
    """
    sizes = {len(views.mattes), len(views.coefficients), len(views.poses.rotations)}
    if len(sizes) > 1:
        raise ValueError(f"poses, coefficients and mattes are of {sorted(sizes)} frames")
    person = _landmarks_only(person)
    modes = outline_modes(head, person.places)
    guess = _with_handles(head, person, modes.handles)
    fit = _Fit(head, guess, modes, views, camera)
    weights = np.zeros(len(modes.at_handles))  # [C]
    with Progress(_ROUNDS, "fitting the outline", quiet=quiet) as progress:
        for _ in range(_ROUNDS):
            weights, error = fit.improve(weights)
            progress.update(skin_cm=error)
    offsets = guess.offsets.copy()
    offsets[NUM_LANDMARKS:] += np.tensordot(weights, modes.at_handles, 1)
    return replace(guess, offsets=offsets)


class _Fit:
    """The person in all views, and what moves it."""

    def __init__(
        self, head: ParametricHead, person: Person, modes: Modes, views: OutlineViews, camera: Camera
    ) -> None:
        self._zone = zones(head)
        self._triangles = head.triangles_of("face", "head_neck")
        self._poses = views.poses
        self._to_head = person.scale * person.rotation  # cm to head units
        mesh = person.mesh(head)
        self._guesses = [mesh.vertices(coefficients) for coefficients in views.coefficients]
        self._modes = modes.at_vertices
        self._by_vertex = np.ascontiguousarray(np.moveaxis(modes.at_vertices, 0, -1))  # [V, 3, C]
        scale = min(1.0, _COARSE / max(views.mattes[0].shape))
        self._camera = Camera(camera.focal * scale, np.asarray(camera.center) * scale)
        self._mattes = [_coarse(matte, scale) for matte in views.mattes]

    def improve(self, weights: np.ndarray) -> tuple[np.ndarray, float]:  # [C]
        """Take a step of Gauss and Newton. Also returns how far skin is off before it, cm."""
        precision = np.eye(len(weights))
        wanted = np.zeros(len(weights))
        moved = np.tensordot(weights, self._modes, 1) @ self._to_head.T
        evidence = min(_MOST_VIEWS, len(self._mattes)) / (len(self._mattes) * _ERROR**2)
        misses = []
        for view, matte in enumerate(self._mattes):
            rotation, translation = self._poses.rotations[view], self._poses.translations[view]
            points = (self._guesses[view] + moved) @ rotation.T + translation
            samples = self._outline(points, matte)
            pixels_per_cm = self._pixels_per_cm(points, samples)
            gap, slope = _gaps(matte, samples, pixels_per_cm)
            # The head's y axis on the picture.
            up = (rotation @ self._to_head[:, 1])[:2]
            residual, trust = _evidence(samples, gap, slope, up / np.linalg.norm(up))
            rows = self._rows(points, samples, rotation)  # [N, C]
            precision += evidence * (rows * trust[:, None]).T @ rows
            wanted += evidence * rows.T @ (trust * (residual + rows @ weights))
            is_skin = (samples.zone > SKULL) & (trust > 0)
            misses.append(np.abs(gap[is_skin]))
        return np.linalg.solve(precision, wanted), _mean(np.concatenate(misses))

    def _outline(self, points: np.ndarray, matte: np.ndarray) -> _Samples:
        """The outermost outline of the mesh in camera coordinates."""
        height, width = matte.shape
        triangles = facing_camera(points, self._triangles)
        drawn = draw_mesh(points, triangles, self._camera.focal, self._camera.center, (width, height))
        is_drawn = (drawn.triangle >= 0).astype(np.uint8)
        contours, _ = cv2.findContours(is_drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        x, y = np.concatenate([contour[:, 0] for contour in contours] or [np.zeros((0, 2), int)])[::_STRIDE].T
        corners = triangles[drawn.triangle[y, x]]  # [N, 3]
        barycentric = drawn.barycentric[y, x]
        zone = self._zone[corners[np.arange(len(x)), barycentric.argmax(axis=1)]]
        normals = _normals(is_drawn.astype(np.float32), np.stack([x, y], axis=1) + 0.5)
        is_inside = (np.minimum(x, width - 1 - x) >= _EDGE) & (np.minimum(y, height - 1 - y) >= _EDGE)
        kept = is_inside & (zone != NO_ZONE)
        # The edge runs half a pixel outside of the last centre that is drawn.
        pixels = np.stack([x, y], axis=1) + 0.5 + 0.5 * normals
        return _Samples(corners[kept], barycentric[kept], zone[kept], pixels[kept], normals[kept])

    def _pixels_per_cm(self, points: np.ndarray, samples: _Samples) -> np.ndarray:  # [N]
        depth = (points[samples.corners, 2] * samples.barycentric).sum(axis=1)
        return self._camera.focal * np.linalg.norm(self._to_head[0]) / depth

    def _rows(self, points: np.ndarray, samples: _Samples, rotation: np.ndarray) -> np.ndarray:  # [N, C]
        """How far along its normal each mode takes a point of the outline, cm on the picture."""
        places = np.einsum("nkd,nk->nd", points[samples.corners], samples.barycentric)
        # Of the picture's x and y, times depth over focal length.
        along_depth = -(samples.normals * places[:, :2]).sum(axis=1) / places[:, 2]
        direction = np.concatenate([samples.normals, along_depth[:, None]], axis=1)  # [N, 3]
        direction = direction @ rotation @ (self._to_head / np.linalg.norm(self._to_head[0]))
        rows = np.zeros((len(direction), self._by_vertex.shape[2]), np.float32)
        for corner in range(3):
            weighted = direction * samples.barycentric[:, corner, None]
            rows += np.einsum(
                "nd,ndc->nc", weighted.astype(np.float32), self._by_vertex[samples.corners[:, corner]]
            )
        return rows.astype(np.float64)


def _evidence(
    samples: _Samples, gap: np.ndarray, slope: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (cm) and weights of points, both [N].

    gap: how far outside of each the matte ends, cm; NaN where it ends nowhere near. slope: unit vectors
    [N, 2] across the matte's outline there. up: the head's, on the picture.
    """
    found = np.isfinite(gap)
    gap = np.where(found, gap, 0.0)
    is_bound = samples.zone == SKULL
    residual = np.where(is_bound & (gap > 0), np.maximum(gap - _HAIR, 0), gap)
    trust = 1 / (1 + (residual / _TOLERANCE) ** 2)
    is_same = (abs(gap) < _NEAR) & ((slope * samples.normals).sum(axis=1) > _ALIKE)
    is_shoulder = np.maximum(abs(slope @ up), abs(samples.normals @ up)) > _SHOULDER
    is_same &= (samples.zone != NECK) | ~is_shoulder
    trust_on_skin = is_same * trust * np.where(samples.zone == FACE, _FACE_WEIGHT, 1.0)
    # Nothing of a head is outside of its matte, but thick hair is often far outside of the skull.
    trust_on_skull = np.where(gap < 0, _BOUND_WEIGHT, _HAIR_WEIGHT * trust)
    return residual, found * np.where(is_bound, trust_on_skull, trust_on_skin)


def _gaps(matte: np.ndarray, samples: _Samples, pixels_per_cm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far outside of each point [N] the matte ends along its normal, cm, and its slope [N, 2] there."""
    # Steps of about a pixel.
    steps = np.linspace(-_REACH, _REACH, 1 + round(2 * _REACH * pixels_per_cm.max(initial=1.0)))
    along = samples.pixels[:, None] + (steps * pixels_per_cm[:, None])[..., None] * samples.normals[:, None]
    values = _sample(matte, along)  # [N, K]
    is_end = (values[:, :-1] >= 0.5) & (values[:, 1:] < 0.5)
    fraction = (values[:, :-1] - 0.5) / np.where(is_end, values[:, :-1] - values[:, 1:], 1.0)
    ends = np.where(is_end, steps[:-1] + fraction * np.diff(steps), np.inf)
    nearest = abs(ends).argmin(axis=1)
    gap = ends[np.arange(len(ends)), nearest]
    found = np.isfinite(gap)
    gap = np.where(found, gap, np.nan)
    place = samples.pixels + (np.where(found, gap, 0) * pixels_per_cm)[:, None] * samples.normals
    return gap, _normals(matte, place)


def _normals(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:  # [N, 2]
    """Unit vectors down the slope of a blurred picture."""
    blurred = cv2.GaussianBlur(picture, (0, 0), _BLUR)
    slope = [
        -_sample(cv2.Sobel(blurred, cv2.CV_32F, *order), pixels[:, None])[:, 0] for order in ((1, 0), (0, 1))
    ]
    slope = np.stack(slope, axis=1)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)


def _sample(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:  # [N, K]
    """Bilinear values of a picture at pixels [N, K, 2]; beyond its edge as at the edge."""
    x, y = np.moveaxis((pixels - 0.5).astype(np.float32), -1, 0)
    if x.size == 0:
        return np.zeros(x.shape, np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _coarse(matte: np.ndarray, scale: float) -> np.ndarray:
    matte = matte.astype(np.float32) / (255 if matte.dtype == np.uint8 else 1)
    if scale == 1:
        return matte
    return cv2.resize(matte, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _landmarks_only(person: Person) -> Person:
    places = person.places.first(NUM_LANDMARKS)
    return replace(person, offsets=person.offsets[:NUM_LANDMARKS], places=places)


def _with_handles(head: ParametricHead, person: Person, handles: LandmarkPlaces) -> Person:
    """The same person with handles where the landmarks put them."""
    offsets = handles.of(spread(head, person.places, person.offsets))
    offsets = np.concatenate([person.offsets, offsets])
    return replace(person, offsets=offsets, places=joined(person.places, handles))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
