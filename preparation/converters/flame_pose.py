"""The head's motion in the world without FLAME's licensed file.

FLAME takes a point x of the head to G (N (x - n) + n - r) + r + t: neck rotation N about the neck's joint n,
global rotation G about the root's joint r, translation t. The rotation of the head, G N, is known exactly;
where the joints are is part of the licensed file. So they come

- from exported meshes, where there are some: a rigid fit of the vertices that move least otherwise (Kabsch
  1976) gives the whole motion, and nothing else is needed (`poses_of_meshes`);
- else from the mattes, by least squares: r and n are constant for a person, and the top and the middle of the
  head's outline must follow from them in every picture (`solve_joints`). Equations are linear once multiplied
  by depth.

Lengths are metres.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.converters.files import read_vertices
from preparation.converters.record import ForeignClip, ForeignFrame
from preparation.geometry.rigid import log_so3, nearest_rotation
from utils.errors import UserError
from utils.progress import track
from utils.sampling import evenly_spread
from utils.so3 import exp_so3

# Vertices, and mattes, that are looked at, at most.
_MOST_VERTICES, _MOST_MATTES = 1500, 240
# Metres from between the ears, and how far it may be off: the crown's centre, neck, root (anatomy), radius of
# the crown, where the outline's curvature does not tell it better, to a centimetre.
_EXPECTED = np.array([0, 0.03, 0, 0, -0.07, -0.02, 0, -0.13, -0.02, 0.1])
_SPREAD = np.array([0.03, 0.05, 0.03] + 2 * [0.02, 0.05, 0.05] + [0.03])
# Metres: what an outline is off by hair and matting.
_OUTLINE_ERROR = 0.003
# Metres.
_FARTHEST = 1e4
# Radians: where nobody turns further, joints don't matter.
_STILL = 1e-6


class FlameMotion(NamedTuple):
    """FLAME's rigid parameters of every frame."""

    glob: np.ndarray  # [F, 3, 3]
    neck: np.ndarray  # [F, 3, 3]
    translation: np.ndarray  # [F, 3]

    @classmethod
    def from_vectors(cls, glob: list, neck: list, translation: list) -> "FlameMotion":
        """Of rotation vectors [F, 3]."""
        return cls(exp_so3(np.array(glob)), exp_so3(np.array(neck)), np.array(translation))

    @property
    def is_still(self) -> bool:
        """Whether nothing turns, so that joints don't matter."""
        return max(np.abs(log_so3(turn)).max() for turn in (self.glob, self.neck)) < _STILL

    def poses(self, neck_joint: np.ndarray, root_joint: np.ndarray) -> np.ndarray:  # [F, 4, 4]
        """Head-to-world, for joints [3]."""
        turned = self.glob @ self.neck
        poses = np.tile(np.eye(4), (len(turned), 1, 1))
        poses[:, :3, :3] = turned
        moved = (self.glob - turned) @ neck_joint + (np.eye(3) - self.glob) @ root_joint
        poses[:, :3, 3] = moved + self.translation
        return poses


class Outline(NamedTuple):
    """What one matte says of the head: the middle between its sides, and its top; pixels, from the corner."""

    middle: float
    top: float
    # Metres: that of the circle through the top and the sides, at the depth of the head.
    radius: float


def with_flame_motion(clip: ForeignClip, motion: FlameMotion, rows: list[int], quiet: bool) -> ForeignClip:
    """The clip, whose cameras are told in the world, with the head's motion taken into them.

    rows: the row of the motion for each frame of the clip. Says in `head_pose` and `notes` how it was found.
    """
    if motion.is_still:
        joints, how, notes = (np.zeros(3), np.zeros(3)), "the cameras, FLAME does not turn", ()
    else:
        joints, how, notes = _solved(clip, motion, rows, quiet)
    poses = motion.poses(*joints)
    frames = [
        frame._replace(world_to_camera=frame.world_to_camera @ poses[row])
        for frame, row in zip(clip.frames, rows, strict=True)
    ]
    return clip._replace(frames=frames, head_pose=how, notes=clip.notes + notes)


def _solved(clip: ForeignClip, motion: FlameMotion, rows: list[int], quiet: bool):
    chosen = evenly_spread(len(clip.frames), _MOST_MATTES).tolist()
    items = track(chosen, len(chosen), "looking at mattes", quiet=quiet)
    seen = [
        (i, outline) for i in items if (outline := outline_of(clip.frames[i], motion.translation[rows[i]]))
    ]
    frames, which = [clip.frames[i] for i, _ in seen], [rows[i] for i, _ in seen]
    picked = FlameMotion(*(values[which] for values in motion))
    neck, root, error = solve_joints(picked, frames, [outline for _, outline in seen])
    how = f"FLAME's parameters; joints solved by least squares from {len(seen)} mattes"
    note = (
        f"head poses: {how}, {1000 * error:.1f} mm rms: neck {_millimetres(neck)}, "
        f"root {_millimetres(root)} mm; prepare.py --track-only tracks the head anew"
    )
    return (neck, root), how, (note,)


def _millimetres(point: np.ndarray) -> str:
    return " ".join(f"{1000 * value:.0f}" for value in point)


def outline_of(frame: ForeignFrame, translation: np.ndarray) -> Outline | None:
    """Look at the upper part of a head in its matte; None where it is not whole in the picture."""
    if not np.isfinite(frame.world_to_camera).all():
        return None
    share = frame.read_matte() / 255.0  # [H, W]
    depth = (frame.world_to_camera[:3, :3] @ translation + frame.world_to_camera[:3, 3])[2]
    radius = frame.intrinsics[1, 1] * _EXPECTED[-1] / depth if depth > 0 else 0
    covered = np.flatnonzero((share >= 0.5).sum(1) >= 2)
    if not len(covered) or covered[0] == 0 or radius < 2:
        return None
    row = covered[0]
    # The edge, to a part of a pixel, in the columns where it is highest.
    columns = share[row] >= 0.5
    top = row + 1 - share[: row + 1, columns].sum(0).mean()
    band = share[int(row + 0.3 * radius) : int(row + 0.9 * radius) + 1]
    weights = band.sum(1)
    if not len(band) or weights.min() < 1 or band[:, [0, -1]].max() >= 0.5:
        return None
    places = np.arange(band.shape[1]) + 0.5
    below = np.arange(len(band)) + int(row + 0.3 * radius) + 0.5 - top
    curvature = np.median(((weights / 2) ** 2 + below**2) / (2 * below))
    middle = ((band @ places) / weights).mean()
    return Outline(float(middle), float(top), float(curvature * depth / frame.intrinsics[1, 1]))


def solve_joints(
    motion: FlameMotion, frames: list[ForeignFrame], outlines: list[Outline]
) -> tuple[np.ndarray, np.ndarray, float]:
    """The neck's and the root's joint [3], and the rms error in metres.

    Unknown beside them are centre and radius of the crown. With c its centre before a camera, an outline says
    c_x = (middle - cx) / fx c_z and c_y - radius = (top - cy) / fy c_z; Huber's weights, four rounds.
    """
    turned = motion.glob @ motion.neck
    blocks = np.concatenate([turned, motion.glob - turned, np.eye(3) - motion.glob], axis=2)  # [F, 3, 9]
    rows, values = [], []
    for block, moved, frame, outline in zip(blocks, motion.translation, frames, outlines, strict=True):
        rotation, shift = frame.world_to_camera[:3, :3], frame.world_to_camera[:3, 3]
        (fx, _, cx), (_, fy, cy), _ = frame.intrinsics
        linear, constant = rotation @ block, rotation @ moved + shift
        for axis, slope in ((0, (outline.middle - cx) / fx), (1, (outline.top - cy) / fy)):
            rows.append([*(linear[axis] - slope * linear[2]), -float(axis)])
            values.append(slope * constant[2] - constant[axis])
    rows, values = np.array(rows).reshape(-1, 10), np.array(values)
    # The writer says what is wrong with numbers that are none.
    is_sane = (np.abs(rows).max(1, initial=0) < _FARTHEST) & (np.abs(values) < _FARTHEST)
    rows, values = rows[is_sane], values[is_sane]
    expected, spread = _EXPECTED.copy(), _SPREAD.copy()
    if outlines:
        expected[-1] = np.clip(np.median([outline.radius for outline in outlines]), 0.07, 0.14)
        spread[-1] = 0.01
    weights, solution = np.ones(len(values)), expected
    for _ in range(4):
        lhs = np.concatenate([rows * weights[:, None] / _OUTLINE_ERROR, np.diag(1 / spread)])
        rhs = np.concatenate([values * weights / _OUTLINE_ERROR, expected / spread])
        solution = np.linalg.lstsq(lhs, rhs, rcond=None)[0]
        errors = np.abs(rows @ solution - values)
        weights = np.sqrt(np.minimum(1, 2 * _OUTLINE_ERROR / np.maximum(errors, 1e-12)))
    error = float(np.sqrt(((rows @ solution - values) ** 2).mean())) if len(values) else 0.0
    return solution[3:6], solution[6:9], error


def poses_of_meshes(paths: list[Path], canonical: Path | None, quiet: bool) -> np.ndarray:  # [F, 4, 4]
    """Head-to-world of every mesh, by a rigid fit to the canonical one, else to the first about its middle.

    Fitted are the vertices of the upper half that move least otherwise. Raises UserError.
    """
    reference = read_vertices(canonical if canonical else paths[0])
    step = -(-len(reference) // _MOST_VERTICES)
    meshes = []
    for path in track(paths, len(paths), "reading meshes", quiet=quiet):
        vertices = read_vertices(path)
        if len(vertices) != len(reference):
            raise UserError(f"{path}: {len(vertices)} vertices; expected {len(reference)} as in the others")
        meshes.append(vertices[::step])
    meshes, reference = np.stack(meshes), reference[::step]
    chosen = np.flatnonzero(reference[:, 1] >= np.median(reference[:, 1]))
    if canonical is None:
        reference = reference - reference[chosen].mean(0)
    for _ in range(3):
        rotations, shifts = _rigid_fit(reference[chosen], meshes[:, chosen])
        moved = reference[chosen] @ rotations.transpose(0, 2, 1) + shifts[:, None]
        errors = ((moved - meshes[:, chosen]) ** 2).sum(-1).mean(0)
        chosen = chosen[np.argsort(errors, kind="stable")[: max(8, 2 * len(chosen) // 3)]]
    rotations, shifts = _rigid_fit(reference[chosen], meshes[:, chosen])
    poses = np.tile(np.eye(4), (len(meshes), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotations, shifts
    return poses


def _rigid_fit(points: np.ndarray, meshes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares rotations [F, 3, 3] and translations [F, 3] from points [P, 3] to meshes [F, P, 3]."""
    centre, centres = points.mean(0), meshes.mean(1)
    covariances = np.swapaxes(meshes - centres[:, None], 1, 2) @ (points - centre)
    rotations = nearest_rotation(covariances)
    return rotations, centres - rotations @ centre
