"""Poses refined on the pixels: every frame is laid onto one texture of the rigid part of the face.

Where a frame's pixels fall on the relief is its unwarped texture; the median of them over the clip is sharp
where poses are right. Each pose is moved so that its texture agrees with the median one. What is left of the
optical flow between the two, and goes with the direction that the head is seen from, is an error of the
relief: its depth is mended, and the poses are found again.
"""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.alignment import Aligned, Aligner
from preparation.files import write_arrays
from preparation.head_pose import Camera
from preparation.relief import TEXEL, Relief, face_relief, mend_relief
from preparation.rigid import Poses
from utils.progress import Progress

SAMPLE_FRAMES = 80  # texture and relief are made from so many, spread over the clip
NUM_ROUNDS = 4  # of texture, poses and relief on the sample
_NUM_WORKERS = 2


class Refinement(NamedTuple):
    """Poses refined on the pixels, with what the optical flow between textures says of them, in pixels."""

    poses: Poses
    relief: Relief
    texture: np.ndarray  # [T], locally normalised
    flow: np.ndarray  # [F] mean over texels: what is left
    is_rejected: np.ndarray  # [F] bool: frames that kept the pose of the landmarks
    landmark_flow: float  # mean over a sample of frames, with the landmarks' poses
    median_flow: float  # over texels and frames of the sample, with the refined poses


def refine_poses(
    read_frame: Callable[[int], np.ndarray],  # frame number -> [H, W, 3] uint8
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
    read_frame: Callable[[int], np.ndarray], poses: Poses, landmarks: np.ndarray, camera: Camera, quiet: bool
) -> Refinement:
    num_frames = len(poses.rotations)
    sample = np.unique(np.linspace(0, num_frames - 1, min(SAMPLE_FRAMES, num_frames)).round().astype(int))
    aligner = Aligner(face_relief(landmarks), camera, float(np.median(poses.translations[:, 2])))
    with (
        ThreadPoolExecutor(_NUM_WORKERS) as pool,
        Progress(num_frames + NUM_ROUNDS * len(sample), "aligning pixels", quiet=quiet) as progress,
    ):

        def align(frame: int, pose: Poses) -> Aligned:
            aligned = aligner.align_frame(read_frame(frame), pose.rotations[0], pose.translations[0])
            progress.update()
            return aligned

        def unwrap(row: int, frame: int) -> np.ndarray:
            return aligner.unwrap(read_frame(frame), current.rotations[row], current.translations[row])

        def summarize(
            frame: int,
        ) -> tuple[np.ndarray, np.ndarray, float, bool]:  # textures would fill the memory
            done = align(frame, poses.select([frame]))
            return done.rotation, done.translation, _lengths([done]).mean(), done.is_rejected

        current = poses.select(sample)
        textures = list(pool.map(unwrap, range(len(sample)), sample))
        aligner.texture = median_texture(np.stack(textures))
        landmark_flow = np.mean([np.linalg.norm(aligner.flow(texture), axis=1) for texture in textures])
        for round_number in range(NUM_ROUNDS):
            aligned = list(pool.map(align, sample, [current.select([row]) for row in range(len(sample))]))
            current = Poses(*(np.stack([done[i] for done in aligned]) for i in range(2)))
            good = [row for row, done in enumerate(aligned) if not done.is_rejected]
            if good:
                aligner.texture = median_texture(np.stack([aligned[row].texture for row in good]))
            if good and round_number < NUM_ROUNDS - 1:
                flows = [aligned[row].flow for row in good]
                aligner = aligner.with_relief(mend_relief(aligner.relief, flows, current.select(good)))
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
        float(landmark_flow) * pixels,
        float(np.median(_lengths(aligned))) * pixels,
    )


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


def median_texture(textures: np.ndarray) -> np.ndarray:  # [S, T] -> [T]
    """The median of what was seen; NaN where nothing was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(textures, axis=0)
