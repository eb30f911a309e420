"""Poses refined on the pixels: every frame is laid onto one texture of the rigid part of the face.

Where a frame's pixels fall on the relief is its unwarped texture; the median of them over the clip is sharp
where poses are right. Each pose is moved so that its texture agrees with the median one. What is left of the
optical flow between the two, and goes with the direction that the head is seen from, is an error of the
relief: its depth is mended, and the poses are found again.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.data_set.images_and_arrays import write_arrays
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.tracking.face_texture import median_texture
from preparation.tracking.relief import TEXEL, Relief, face_relief, mend_relief
from preparation.tracking.texture_alignment import Aligned, Aligner
from utils.progress import Progress
from utils.sampling import evenly_spread

# Texture and relief are made from so many frames, spread over the clip.
SAMPLE_FRAMES = 80
# Rounds of texture, poses and relief on these frames.
NUM_ROUNDS = 4
_NUM_WORKERS = 2

# Frame number -> [H, W, 3] uint8.
ReadFrame = Callable[[int], np.ndarray]


class Refinement(NamedTuple):
    """Poses refined on the pixels, with what the optical flow between textures says of them, in pixels."""

    poses: Poses
    relief: Relief
    # Locally normalised.
    texture: np.ndarray  # [T]
    # What is left, mean over texels.
    flow: np.ndarray  # [F]
    # Frames that kept the pose of the landmarks.
    is_rejected: np.ndarray  # [F] bool
    # Mean over a sample of frames, with the landmarks' poses.
    landmark_flow: float
    # Over texels and frames of the sample, with the refined poses.
    median_flow: float

    def select(self, rows: np.ndarray) -> "Refinement":
        """The frames at `rows`, an index or a mask [F]; what all of them told stays."""
        poses = self.poses.select(rows)
        return self._replace(poses=poses, flow=self.flow[rows], is_rejected=self.is_rejected[rows])


def refine_poses(
    read_frame: ReadFrame,
    poses: Poses,
    landmarks: np.ndarray,  # [478, 3] of the person, head units
    camera: Camera,
    cache: Path | None = None,
    quiet: bool = False,
) -> Refinement:
    """Refine the poses of all frames. cache: folder of the result, read again after an interruption."""
    stored = cache / "refinement.npz" if cache else None
    if stored and stored.is_file():
        return _read(stored)
    refinement = _refine(read_frame, poses, landmarks, camera, quiet)
    if stored:
        _write(stored, refinement)
    return refinement


def _refine(
    read_frame: ReadFrame, poses: Poses, landmarks: np.ndarray, camera: Camera, quiet: bool
) -> Refinement:
    num_frames = len(poses.rotations)
    sample = evenly_spread(num_frames, SAMPLE_FRAMES)
    aligner = Aligner(face_relief(landmarks), camera, float(np.median(poses.translations[:, 2])))
    with (
        ThreadPoolExecutor(_NUM_WORKERS) as pool,
        Progress(num_frames + NUM_ROUNDS * len(sample), "aligning pixels", quiet=quiet) as progress,
    ):

        def lay(aligner: Aligner, frame: int, pose: Poses) -> Aligned:
            aligned = aligner.align_frame(read_frame(frame), pose.rotations[0], pose.translations[0])
            progress.update()
            return aligned

        def summarize(frame: int) -> tuple[np.ndarray, np.ndarray, float, bool]:
            # Without the texture: those of all frames would fill the memory.
            done = lay(aligner, frame, poses.select([frame]))
            return done.rotation, done.translation, _lengths([done]).mean(), done.is_rejected

        aligner, landmark_flow = _first_texture(pool, read_frame, aligner, sample, poses.select(sample))
        aligner, aligned = _mend_on_sample(pool, lay, aligner, sample, poses.select(sample))
        rotations, translations, flow, is_rejected = map(
            np.array, zip(*pool.map(summarize, range(num_frames)), strict=True)
        )
    pixels = TEXEL * camera.focal / aligner.distance
    return Refinement(
        Poses(rotations, translations),
        aligner.relief,
        aligner.texture,
        flow * pixels,
        is_rejected,
        landmark_flow * pixels,
        float(np.median(_lengths(aligned))) * pixels,
    )


def _first_texture(
    pool: ThreadPoolExecutor, read_frame: ReadFrame, aligner: Aligner, frames: np.ndarray, poses: Poses
) -> tuple[Aligner, float]:
    """Make a texture of frames with the poses that came in; also returns their mean flow in texels."""

    def unwrap(row: int, frame: int) -> np.ndarray:
        return aligner.unwrap(read_frame(frame), poses.rotations[row], poses.translations[row])

    textures = list(pool.map(unwrap, range(len(frames)), frames))
    aligner = aligner.with_texture(median_texture(np.stack(textures)))
    flow = np.mean([np.linalg.norm(aligner.flow(texture), axis=1) for texture in textures])
    return aligner, float(flow)


def _mend_on_sample(
    pool: ThreadPoolExecutor,
    lay: Callable[[Aligner, int, Poses], Aligned],
    aligner: Aligner,
    frames: np.ndarray,
    poses: Poses,
) -> tuple[Aligner, list[Aligned]]:
    """Find texture, poses and relief in turns on some frames; also returns these as they were laid last."""
    for round_number in range(NUM_ROUNDS):
        one_by_one = [poses.select([row]) for row in range(len(frames))]
        aligned = list(pool.map(functools.partial(lay, aligner), frames, one_by_one))
        poses = Poses(*(np.stack([done[i] for done in aligned]) for i in range(2)))
        good = [row for row, done in enumerate(aligned) if not done.is_rejected]
        if good:
            texture = median_texture(np.stack([aligned[row].texture for row in good]))
            aligner = aligner.with_texture(texture)
        if good and round_number < NUM_ROUNDS - 1:
            flows = [aligned[row].flow for row in good]
            aligner = aligner.with_relief(mend_relief(aligner.relief, flows, poses.select(good)))
    return aligner, aligned


def _lengths(aligned: list[Aligned]) -> np.ndarray:  # [S, T] texels
    return np.linalg.norm([done.flow for done in aligned], axis=-1)


def _write(path: Path, refinement: Refinement) -> None:
    fields = refinement._asdict()
    for name in ("poses", "relief"):
        nested = fields.pop(name)._asdict()
        fields |= {f"{name}.{key}": np.asarray(value) for key, value in nested.items()}
    write_arrays(path, **fields)


def _read(path: Path) -> Refinement:
    with np.load(path, allow_pickle=False) as stored:
        fields = {key: stored[key] for key in stored}
    for name, kind in (("poses", Poses), ("relief", Relief)):
        fields[name] = kind(**{key: fields.pop(f"{name}.{key}") for key in kind._fields})
    fields |= {key: fields[key].item() for key in ("median_flow", "landmark_flow")}
    return Refinement(**fields)
