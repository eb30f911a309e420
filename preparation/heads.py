"""From a track of landmarks to the person's landmarks in the head frame, poses, crop and camera."""

from dataclasses import dataclass

import numpy as np

from preparation.crop import Crop, choose_crop, crop_camera, crop_points
from preparation.face_points import CHIN, FOREHEAD_TOP, STABLE
from preparation.focal import assume_focal
from preparation.head_frame import rebase, to_head_frame
from preparation.head_pose import (
    MAX_STEPS,
    Camera,
    initial_poses,
    mean_shape,
    reprojection_errors,
    solve,
    triangulate,
)
from preparation.landmarks import LandmarkTrack
from preparation.options import Options
from preparation.rigid import Poses, align
from utils.progress import Progress

SHAPE_FRAMES = 600  # that a person's shape is found from
MOVING_SIGMA = (
    0.06  # of the shape's size: how far mouth, lids and brows may lie from the detector's mean shape
)


@dataclass(frozen=True, eq=False)
class Solution:
    """Poses of the frames of the data set, found from the landmarks."""

    frames: np.ndarray  # [F] of the video at its tracking rate
    landmarks: np.ndarray  # [478, 3] of the person, head units
    poses: Poses
    camera: Camera  # of the data set's pictures
    crop: Crop
    focal_source: str
    reprojection: np.ndarray  # [F, S] pixels of the data set


def solve_heads(track: LandmarkTrack, size: tuple[int, int], options: Options, every: int) -> Solution:
    """Find the person's landmarks and the poses of all frames, and choose crop and camera."""
    frames = np.flatnonzero(track.kept)
    heights = track.landmarks[frames, FOREHEAD_TOP, :2] - track.landmarks[frames, CHIN, :2]
    face_height = float(np.median(np.linalg.norm(heights, axis=1)))
    focal, focal_source = assume_focal(*size, face_height)
    if options.focal:
        focal, focal_source = options.focal, "given by --focal"
    camera = Camera(focal, np.array(size) / 2)
    landmarks, tracked_poses = find_person(track.landmarks, camera, frames, options.quiet)
    is_wanted = frames % every == 0
    pixels, poses = track.landmarks[frames[is_wanted], :, :2], tracked_poses.select(is_wanted)
    crop = choose_crop(pixels, *size)
    cropped = crop_camera(camera, crop, options.size)
    observed = crop_points(pixels[:, STABLE], crop, options.size)
    errors = reprojection_errors(observed, landmarks[STABLE], poses, cropped)
    return Solution(frames[is_wanted], landmarks, poses, cropped, crop, focal_source, errors)


def find_person(
    tracked: np.ndarray, camera: Camera, frames: np.ndarray, quiet: bool = False
) -> tuple[np.ndarray, Poses]:
    """Find the person's landmarks [478, 3] and the poses of `frames` [F], in the head frame.

    tracked: [_, 478, 3] pixels, those of all frames. The shape is found together with the poses of a sample,
    which bounds time and memory, and the other poses with that shape.
    """
    num_frames = len(frames)
    sample = np.unique(np.linspace(0, num_frames - 1, min(SHAPE_FRAMES, num_frames)).round().astype(int))
    sampled = tracked[frames[sample]].astype(np.float64)
    stable = tracked[frames[:, None], STABLE].astype(np.float64)  # [F, S, 3]
    shape = mean_shape(sampled)
    start = initial_poses(align(shape[STABLE], stable), camera)
    with Progress(MAX_STEPS, "solving head poses", quiet=quiet) as progress:
        found = solve(
            stable[sample, :, :2], shape[STABLE], start.select(sample), camera, on_step=progress.update
        )
    poses = found.poses
    if len(sample) < num_frames:
        # The sample's poses belong to a frame of reference that has moved on from the mean shape's.
        start = initial_poses(align(found.shape, stable), camera)
        with Progress(MAX_STEPS, "solving the other frames", quiet=quiet) as progress:
            known = solve(
                stable[..., :2], found.shape, start, camera, prior_sigma=0.0, on_step=progress.update
            )
        poses = known.poses
    shape[STABLE] = found.shape
    whole = triangulate(sampled[..., :2], poses.select(sample), camera, shape, MOVING_SIGMA)
    whole[STABLE] = found.shape
    change = to_head_frame(whole)
    return change.apply(whole[None])[0], rebase(poses, change)
