"""From a track of landmarks to the person's landmarks in the head frame, poses, crop and camera."""

from dataclasses import dataclass, replace

import numpy as np

from arguments import PreparationParams
from preparation.geometry.camera import Camera, Crop, assume_focal, choose_crop, crop_camera, crop_points
from preparation.geometry.head_frame import rebase, to_head_frame
from preparation.geometry.landmark_names import CHIN, FOREHEAD_TOP, STABLE
from preparation.geometry.rigid import Poses, align
from preparation.tracking.bundle_adjustment import (
    MAX_STEPS,
    initial_poses,
    mean_shape,
    reprojection_errors,
    solve,
    triangulate,
)
from preparation.tracking.landmarks import LandmarkTrack
from utils.progress import Progress
from utils.sampling import evenly_spread

# How many frames a person's shape is found from.
SHAPE_FRAMES = 600
# Share of the shape's size: how far mouth, lids and brows may lie from the detector's mean shape.
MOVING_SIGMA = 0.06


@dataclass(frozen=True, eq=False)
class HeadTrack:
    """The person, and the poses of the frames that become images, found from the landmarks."""

    # Numbers of the images' frames in the video.
    frames: np.ndarray  # [F]
    # Of the person, in head units.
    landmarks: np.ndarray  # [478, 3]
    poses: Poses
    # Of the images: what the crop leaves of the video's camera.
    camera: Camera
    crop: Crop
    focal_source: str
    # Pixels of the images.
    reprojection: np.ndarray  # [F, S]

    def select(self, rows: np.ndarray) -> "HeadTrack":
        """The frames at `rows`, an index or a mask [F]."""
        kept = self.frames[rows], self.poses.select(rows), self.reprojection[rows]
        return replace(self, **dict(zip(("frames", "poses", "reprojection"), kept)))


def solve_heads(
    track: LandmarkTrack, size: tuple[int, int], options: PreparationParams, every: int
) -> HeadTrack:
    """Find the person's landmarks and the poses of all frames, and choose crop and camera.

    size: width and height of the video. every: one in so many frames becomes an image.
    """
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
    return HeadTrack(frames[is_wanted], landmarks, poses, cropped, crop, focal_source, errors)


def find_person(
    tracked: np.ndarray, camera: Camera, frames: np.ndarray, quiet: bool = False
) -> tuple[np.ndarray, Poses]:
    """Find the person's landmarks [478, 3] and the poses of `frames` [F], in the head frame.

    tracked: [_, 478, 3] pixels, those of all frames. The shape is found together with the poses of a sample,
    which bounds time and memory, and the other poses with that shape.
    """
    num_frames = len(frames)
    sample = evenly_spread(num_frames, SHAPE_FRAMES)
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
