"""Where Gaussians start on the mesh, and how far each may leave its place."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from parametric_head.landmarks import LOWER_LIDS, LOWER_LIP, UPPER_LIDS, UPPER_LIP
from parametric_head.zones import EAR, FACE, NECK, NO_ZONE, SKULL, zones
from scene.scaffold import triangle_frames
from training.on_scaffold.fitted_head import FittedHead

# cm around lids and lips where details are.
_DETAIL = 1.2
# Gaussians per area, by zone and part, against 1 for the skull.
_FACE_DENSITY, _FINE = 4.0, 12.0
_DENSITY = {SKULL: 1.0, EAR: 3.0, NECK: 1.0, NO_ZONE: 0.5}
_DENSITY_OF_PARTS = {
    "mouth_socket": 0.7,
    "eye_socket_left": 0.7,
    "eye_socket_right": 0.7,
    "gums_tongue": 1.0,
    "teeth": 3.0,
    "eyeball_left": 8.0,
    "eyeball_right": 8.0,
}
# cm along, below and above the surface.
_SKIN_LIMITS = (0.4, 0.15, 0.3)
_HAIR_LIMITS = (0.8, 0.3, 0.4)
_NECK_LIMITS = (1.5, 1.0, 0.5)
_LIMITS_OF_PARTS = {
    "mouth_socket": (0.5, 0.3, 0.1),
    "gums_tongue": (0.3, 0.2, 0.1),
    # Nothing of these comes through lids and lips.
    "teeth": (0.2, 0.1, 0.0),
    "eyeball_left": (0.3, 0.05, 0.0),
    "eyeball_right": (0.3, 0.05, 0.0),
}
# Lids reach so far around their edges, cm; how far they may be below and above.
_LIDS, _LID_LIMITS = 1.0, (0.03, 0.15)
# Thickness of a Gaussian across the surface over its width.
FLATNESS = 0.3
# Share of the hair's Gaussians that lie within it, not on its surface.
_WITHIN = 0.4


class Seating(NamedTuple):
    """N Gaussians on the mesh."""

    triangle: np.ndarray  # [N]
    barycentric: np.ndarray  # [N, 3]
    xyz: np.ndarray  # [N, 3]
    scale: np.ndarray  # [N, 3]
    rotation: np.ndarray  # [N, 4] wxyz


def limits_of(fitted: FittedHead, thickness: np.ndarray) -> np.ndarray:
    """How far along, below and above each triangle: [T, 3] head units."""
    head = fitted.head
    zone = zones(head)[head.triangles]
    limits = np.tile(_SKIN_LIMITS, (len(head.triangles), 1))
    edges = fitted.person.places.of(head.neutral)[[*UPPER_LIDS, *LOWER_LIDS]]
    middles = head.neutral[head.triangles].mean(axis=1)
    limits[cKDTree(edges).query(middles)[0] < _LIDS, 1:] = _LID_LIMITS
    limits[(zone == NECK).all(axis=1) | (zone == NO_ZONE).all(axis=1)] = _NECK_LIMITS
    is_hair = (zone == SKULL).any(axis=1)
    limits[is_hair] = _HAIR_LIMITS
    for name, values in _LIMITS_OF_PARTS.items():
        limits[head.is_in(name)] = values
    limits *= fitted.unit
    limits[:, 2] += thickness[head.triangles].max(axis=1)
    return limits


def is_of_head(fitted: FittedHead) -> np.ndarray:  # [T] bool
    """All but the neck."""
    zone = zones(fitted.head)[fitted.head.triangles]
    skin = fitted.head.is_in("face", "head_neck")
    return ~(skin & ((zone == NECK) | (zone == NO_ZONE)).any(axis=1))


def seat(
    fitted: FittedHead,
    thickness: np.ndarray,  # [V]
    is_wanted: np.ndarray,  # [V] bool
    count: int,
    random: np.random.Generator,
) -> Seating:
    """Draw places on the mesh, denser where details are; only where all corners are wanted."""
    head = fitted.head
    lifted = fitted.mesh.neutral + thickness[:, None] * fitted.normals
    density = _densities(fitted) * is_wanted[head.triangles].all(axis=1)
    seating = draw_seats(lifted[head.triangles], density, count, random)
    corners = head.triangles[seating.triangle]
    depth = (seating.barycentric * thickness[corners]).sum(axis=1)
    depth *= (random.random(count) < _WITHIN) * random.random(count)
    # The skull's axes: hair stands on it.
    axes = _axes(fitted.mesh.neutral[corners])
    xyz = seating.xyz - depth[:, None] * axes[..., 2]
    return seating._replace(xyz=xyz, rotation=_quaternions(axes))


def draw_seats(
    corners: np.ndarray,  # [T, 3, 3]
    density: np.ndarray,  # [T] per area
    count: int,
    random: np.random.Generator,
) -> Seating:
    """Draw places on triangles, flat along them and as wide as they are apart."""
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    weight = density * np.linalg.norm(across, axis=1) / 2
    triangle = random.choice(len(weight), count, p=weight / weight.sum())
    u, v = random.random((2, count))
    root = np.sqrt(u)
    barycentric = np.stack([1 - root, root * (1 - v), root * v], axis=1)
    xyz = (barycentric[..., None] * corners[triangle]).sum(axis=1)
    spacing = 1 / np.sqrt(count * density[triangle] / weight.sum())
    scale = spacing[:, None] * np.array([1, 1, FLATNESS])
    return Seating(triangle, barycentric, xyz, scale, _quaternions(_axes(corners[triangle])))


def _densities(fitted: FittedHead) -> np.ndarray:  # [T]
    head = fitted.head
    zone = zones(head)
    of_vertex = np.full(len(zone), _FACE_DENSITY)
    for index, value in _DENSITY.items():
        of_vertex[zone == index] = value
    landmarks = fitted.person.places.of(head.neutral)[[*UPPER_LIP, *LOWER_LIP, *UPPER_LIDS, *LOWER_LIDS]]
    near = cKDTree(landmarks).query(head.neutral)[0] < _DETAIL
    of_vertex[near & (zone == FACE)] = _FINE
    density = of_vertex[head.triangles].mean(axis=1)
    for name, value in _DENSITY_OF_PARTS.items():
        density[head.is_in(name)] = value
    # Of eyeballs only what lids may uncover.
    normals = fitted.normals[head.triangles].mean(axis=1)
    density[head.is_in("eyeball_left", "eyeball_right") & (normals[:, 2] < 0.3)] = 0
    return density


def _axes(corners: np.ndarray) -> np.ndarray:  # [N, 3, 3] -> [N, 3, 3]
    return triangle_frames(torch.from_numpy(corners)).numpy()


def _quaternions(axes: np.ndarray) -> np.ndarray:  # [N, 3, 3] -> [N, 4] wxyz
    return np.roll(Rotation.from_matrix(axes).as_quat(), 1, axis=1)
