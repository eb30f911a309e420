"""The scaffold: a triangle mesh that moves with a drive, and carries the Gaussians that sit on it.

What a coefficient does is known before the first picture is seen: Gaussians keep their place on a triangle
and move, turn and stretch with it, so that what is learned on top is small (mesh-bound Gaussians:
GaussianAvatars, Qian et al. 2024). Whoever makes a scaffold decides how far a Gaussian may leave its
triangle. A Gaussian that belongs to no mesh (a torso) sits on a triangle that never moves.

Lengths are world units. A place on the scaffold is a triangle and the barycentric weights of its corners.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.memo import Memo
from utils.rotations import matrix_to_quaternion, quaternion_multiply

# How much a Gaussian may be stretched or squeezed with its triangle.
STRETCH = 2.0
LOG_STRETCH = math.log(STRETCH)
_SMALL = 1e-12


class ScaffoldMesh(NamedTuple):
    """What makes a scaffold: V vertices, T triangles, E expression coefficients."""

    neutral: Tensor  # [V, 3]
    shapes: Tensor  # [E, V, 3] displacement at a coefficient of 1
    triangles: Tensor  # [T, 3] int
    # How far from its place a Gaussian may sit: along the triangle, below it and above.
    limits: Tensor  # [T, 3]
    # Whether what sits there belongs to the head alone: it follows neither torso nor head pose.
    is_of_head: Tensor  # [T] bool
    # How much of it pictures show, 0 to 1: what is learned of colours counts by that much.
    seen: Tensor  # [T]
    # From the pictures, and filled in where none shows it; the SH DC coefficient.
    color: Tensor  # [V, 3]
    # From and to, of the vertices of each ball; they turn about its middle by ball_turns[i] @ expression.
    ball_ranges: Tensor  # [B, 2] int
    ball_centers: Tensor  # [B, 3]
    ball_turns: Tensor  # [B, 3, E] rotation vectors at a coefficient of 1


class Places(NamedTuple):
    """Where N Gaussians sit."""

    triangle: Tensor  # [N] int
    barycentric: Tensor  # [N, 3]

    def on(self, corners: Tensor) -> Tensor:
        """What corners [N, 3, C] of their triangles have, at the places: [N, C]."""
        return (self.barycentric[..., None] * corners).sum(dim=1)


class Seats(NamedTuple):
    """What the places of N Gaussians say of them."""

    # How far an expression may take one along the scaffold.
    reach: Tensor  # [N, 1]
    is_of_head: Tensor  # [N] bool
    seen: Tensor  # [N]
    color: Tensor  # [N, 3] of the SH DC coefficient


class _AtRest(NamedTuple):
    """What the places of N Gaussians have before anything moves."""

    seats: Seats
    corners: Tensor  # [N, 3] vertices of their triangles
    points: Tensor  # [N, 3] the places themselves
    frames: Tensor  # [N, 3, 3] of their triangles
    double_areas: Tensor  # [N]
    limits: Tensor  # [N, 3]


class Motion(NamedTuple):
    """What the scaffold does to N Gaussians: x -> turn @ (x - rest) + moved."""

    rest: Tensor  # [N, 3]
    moved: Tensor  # [N, 3]
    turn: Tensor  # [N, 3, 3]
    log_stretch: Tensor  # [N]

    def carry(self, xyz: Tensor, rotation: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take means [N, 3], quaternions [N, 4] and log-scales [N, 3] along."""
        xyz = self.moved + (self.turn @ (xyz - self.rest)[..., None])[..., 0]
        rotation = quaternion_multiply(matrix_to_quaternion(self.turn), rotation)
        return xyz, rotation, log_scale + self.log_stretch[:, None]


class Scaffold(nn.Module):
    """A `ScaffoldMesh` as buffers: it is saved with the model and moves to a device with it."""

    def __init__(self, mesh: ScaffoldMesh) -> None:
        super().__init__()
        for name, value in mesh._asdict().items():
            self.register_buffer(name, value)
        # Read once: a look at a GPU's tensor waits for it.
        self._balls = [tuple(ends) for ends in mesh.ball_ranges.tolist()]
        # Of the triangles at rest.
        corners = mesh.neutral[mesh.triangles.long()]  # [T, 3, 3]
        self.register_buffer("_rest_frames", triangle_frames(corners), persistent=False)
        self.register_buffer("_rest_areas", _double_area(corners), persistent=False)
        # As kernels read them (scene/fused).
        self.register_buffer("ball_ends", mesh.ball_ranges.int(), persistent=False)
        # Every step of a training asks three times.
        self._of_places: Memo[_AtRest] = Memo()

    @classmethod
    def of_state(cls, state: dict[str, Tensor]) -> "Scaffold":
        """Make it of what `state_dict` gave."""
        return cls(ScaffoldMesh(**{name: state[name] for name in ScaffoldMesh._fields}))

    def vertices(self, expression: Tensor) -> Tensor:  # [E] -> [V, 3]
        """Deform the mesh."""
        moved = self.neutral + torch.tensordot(expression, self.shapes, 1)
        balls = zip(self._balls, self.ball_centers, self.ball_turns, strict=True)
        for (start, stop), center, turns in balls:
            turned = (self.neutral[start:stop] - center) @ _turn(turns @ expression).T + center
            moved = torch.cat([moved[:start], turned, moved[stop:]])
        return moved

    def seats(self, places: Places) -> Seats:
        """What the places of N Gaussians say of them."""
        return self._at_rest(places).seats

    def _at_rest(self, places: Places) -> _AtRest:
        return self._of_places((*places, *self.buffers()), lambda: self._look_up(places))

    def _look_up(self, places: Places) -> _AtRest:
        triangle = places.triangle
        corners, limits = self.triangles[triangle], self.limits[triangle]
        seats = Seats(
            limits[:, :1], self.is_of_head[triangle], self.seen[triangle], places.on(self.color[corners])
        )
        frames, double_areas = self._rest_frames[triangle], self._rest_areas[triangle]
        return _AtRest(seats, corners, places.on(self.neutral[corners]), frames, double_areas, limits)

    def motion(self, places: Places, expression: Tensor) -> Motion:
        """How what sits at `places` moves from the neutral face to an expression [E]."""
        rest = self._at_rest(places)
        moved = self.vertices(expression)[rest.corners]  # [N, 3, 3]
        turn = triangle_frames(moved) @ rest.frames.transpose(1, 2)
        grown = 0.5 * (_double_area(moved) / rest.double_areas).log()
        return Motion(rest.points, places.on(moved), turn, grown.clamp(-LOG_STRETCH, LOG_STRETCH))

    @torch.no_grad()
    def confined(self, places: Places, xyz: Tensor, pull: float = 0.0) -> Tensor:
        """Means [N, 3] of the neutral face, brought back to within the limits of their places, and by a share
        `pull` of the way to the middle between those below and above."""
        rest = self._at_rest(places)
        origin, axes = rest.points, rest.frames
        local = (axes.transpose(1, 2) @ (xyz - origin)[..., None])[..., 0]
        along, below, above = rest.limits.unbind(1)
        upper = torch.stack([along, along, above], dim=1)
        lower = torch.stack([-along, -along, -below], dim=1)
        local = local.clamp(lower, upper)
        local[:, 2] += pull * (0.5 * (above - below) - local[:, 2])
        return origin + (axes @ local[..., None])[..., 0]


def triangle_frames(corners: Tensor) -> Tensor:
    """Rotations [N, 3, 3] of triangles with corners [N, 3, 3]; columns: along an edge, across, the normal."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    edge = F.normalize(first, dim=1, eps=_SMALL)
    normal = F.normalize(torch.linalg.cross(first, second), dim=1, eps=_SMALL)
    return torch.stack([edge, torch.linalg.cross(normal, edge), normal], dim=2)


def _double_area(corners: Tensor) -> Tensor:  # [N, 3, 3] -> [N]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return torch.linalg.cross(first, second).norm(dim=1).clamp_min(_SMALL)


def _turn(vector: Tensor) -> Tensor:
    """The rotation [3, 3] of a rotation vector [3] (Rodrigues), without a branch at zero."""
    angle = vector.norm().clamp_min(1e-8)
    x, y, z = (vector / angle).unbind()
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + angle.sin() * cross + (1 - angle.cos()) * cross @ cross
