"""Pose and expression of a whole clip refined on its pixels, and the depth of the face mended.

A frame looked up at the texels is its texture; the median over the clip is sharp where the fit is right. Each
frame is fitted to it (follower.py). Where flow goes with the views, the depth of the texels is mended, and
the fit is found again; at the end the person takes over what was mended.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from parametric_head.landmarks import NUM_LANDMARKS
from parametric_head.person import PersonMesh
from preparation.data_set.images_and_arrays import write_arrays
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.head_fit.atlas import TEXEL, Atlas, make_atlas, mend_depth
from preparation.head_fit.follower import Follower, Observed, Refined
from preparation.head_fit.head_fit import Fit, HeadFit
from preparation.tracking.face_texture import median_texture
from preparation.tracking.poses_from_pixels import ReadFrame
from utils.progress import Progress
from utils.sampling import evenly_spread

# Texture and depth are made from so many frames, spread over the clip, in so many rounds.
SAMPLE_FRAMES, NUM_ROUNDS = 80, 3
_NUM_WORKERS = 2


class PixelFit(NamedTuple):
    """What was refined, with what the flow between textures says of it, in pixels."""

    fit: Fit
    # What is left on the rigid part, mean over texels that are seen.
    flow: np.ndarray  # [F]
    # Frames that kept what the landmarks said.
    is_rejected: np.ndarray  # [F] bool
    # Mean over a sample of frames, with the landmarks' fit.
    landmark_flow: float
    # Over texels and frames of the sample, with the refined fit.
    median_flow: float
    # Mended depth: of the person's landmarks, along z.
    landmark_depths: np.ndarray  # [478] head units

    @property
    def poses(self) -> Poses:
        return self.fit.poses

    def select(self, rows: np.ndarray) -> "PixelFit":
        """The frames at `rows`, an index or a mask [F]; what all of them told stays."""
        return self._replace(
            fit=self.fit.select(rows), flow=self.flow[rows], is_rejected=self.is_rejected[rows]
        )


def refine_fit(
    read_frame: ReadFrame,
    head_fit: HeadFit,
    landmarks: np.ndarray,  # [F, 478, 2] pixels
    camera: Camera,
    cache: Path | None = None,
    quiet: bool = False,
) -> PixelFit:
    """Refine the fit of all frames. cache: folder of the result, read again after an interruption."""
    stored = cache / "pixel_fit.npz" if cache else None
    if stored and stored.is_file():
        return _read(stored)
    observed = Observed(landmarks.astype(np.float64), head_fit.expected, head_fit.sigmas)
    refined = _refine(read_frame, head_fit.mesh, head_fit.fit, observed, camera, quiet)
    if stored:
        _write(stored, refined)
    return refined


def _refine(read_frame, mesh, fit, observed, camera, quiet) -> PixelFit:
    num_frames = len(fit.coefficients)
    sample = evenly_spread(num_frames, SAMPLE_FRAMES)
    atlas = make_atlas(mesh, np.median(fit.coefficients, axis=0))
    by_landmarks = fit
    follower = Follower(mesh, atlas, camera)
    with (
        ThreadPoolExecutor(_NUM_WORKERS) as pool,
        Progress(num_frames + NUM_ROUNDS * len(sample), "fitting on the pixels", quiet=quiet) as progress,
    ):

        def refine(row: int, source: Fit) -> Refined:
            one = source.select([row])
            done = follower.refine(read_frame(row), one, _row(observed, row), by_landmarks.select([row]))
            progress.update()
            return done

        def refine_lightly(row: int, source: Fit) -> Refined:
            # Textures of all frames would fill the memory.
            return refine(row, source)._replace(texture=None, flow=None)

        rows = [fit.select([row]) for row in sample]
        textures = [laid.texture for laid in pool.map(follower.look, map(read_frame, sample), rows)]
        follower = follower.with_texture(median_texture(np.stack(textures)))
        landmark_flow = float(np.nanmean([follower.rigid_flow(t, follower.flow(t)) for t in textures]))
        for number in range(NUM_ROUNDS):
            done = list(pool.map(refine, sample, repeat(fit)))
            fit = _put(fit, sample, done)
            mended = follower.atlas
            if number < NUM_ROUNDS - 1:
                mended = mend_depth(
                    mended,
                    np.stack([one.flow for one in done]),
                    np.isfinite([one.texture for one in done]),
                    np.stack([one.view for one in done]),
                )
            follower = follower.with_texture(median_texture(np.stack([one.texture for one in done])), mended)
        median_flow = float(np.median([one.rigid_flow for one in done]))
        everything = list(pool.map(refine_lightly, range(num_frames), repeat(fit)))
    pixels = TEXEL * camera.focal / float(np.median(fit.poses.translations[:, 2]))
    depths = _at_landmarks(mesh, follower.atlas, follower.atlas.neutral[:, 2] - atlas.neutral[:, 2])
    return PixelFit(
        _put(fit, np.arange(num_frames), everything),
        np.array([one.rigid_flow for one in everything]) * pixels,
        np.array([one.is_rejected for one in everything]),
        landmark_flow * pixels,
        median_flow * pixels,
        depths,
    )


def _at_landmarks(mesh: PersonMesh, atlas: Atlas, depths: np.ndarray) -> np.ndarray:  # [T] -> [478]
    """Values of texels at the person's landmarks; 0 for landmarks without a texel."""
    vertices = np.zeros(len(mesh.neutral))
    counts = np.zeros(len(mesh.neutral))
    for corner in range(3):
        np.add.at(vertices, atlas.corners[:, corner], depths * atlas.barycentric[:, corner])
        np.add.at(counts, atlas.corners[:, corner], atlas.barycentric[:, corner])
    average = vertices / np.maximum(counts, 1e-6)
    places = mesh.places.first(NUM_LANDMARKS)
    known = (counts[places.vertices] > 0) * places.barycentric
    total = known.sum(axis=1)
    mixed = (known * average[places.vertices]).sum(axis=1) / np.maximum(total, 1e-6)
    return np.where(total > 0.5, mixed, 0.0)


def _row(observed: Observed, row: int) -> Observed:
    return Observed(observed.landmarks[[row]], observed.expected[[row]], observed.sigmas)


def _put(fit: Fit, rows: np.ndarray, done: list[Refined]) -> Fit:
    """The fit with some frames replaced."""
    poses, coefficients, own = fit

    def replaced(old: np.ndarray, new: list[np.ndarray]) -> np.ndarray:
        changed = old.copy()
        changed[rows] = np.concatenate(new)
        return changed

    return Fit(
        Poses(*(replaced(old, [one.fit.poses[i] for one in done]) for i, old in enumerate(poses))),
        replaced(coefficients, [one.fit.coefficients for one in done]),
        Poses(*(replaced(old, [one.fit.landmark_poses[i] for one in done]) for i, old in enumerate(own))),
    )


_POSES = ("poses", "landmark_poses")


def _write(path: Path, refined: PixelFit) -> None:
    fields = refined._asdict()
    fit = fields.pop("fit")
    for name in _POSES:
        poses = getattr(fit, name)
        fields |= {f"{name}.rotations": poses.rotations, f"{name}.translations": poses.translations}
    write_arrays(path, coefficients=fit.coefficients, **fields)


def _read(path: Path) -> PixelFit:
    with np.load(path, allow_pickle=False) as stored:
        fields = {key: stored[key] for key in stored}
    poses, own = (
        Poses(fields.pop(f"{name}.rotations"), fields.pop(f"{name}.translations")) for name in _POSES
    )
    fit = Fit(poses, fields.pop("coefficients"), own)
    fields |= {key: fields[key].item() for key in ("median_flow", "landmark_flow")}
    return PixelFit(fit, **fields)
