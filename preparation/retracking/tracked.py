"""The head model fitted to the pictures of a data set, with its own camera and mattes."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from arguments import PreparationParams
from preparation.data_set.images_and_arrays import read_image
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, Similarity
from preparation.head_fit.finishing import fit_to_mattes, take_over
from preparation.head_fit.head_fit import Detected, HeadFit, fit_head
from preparation.head_fit.pixel_fit import PixelFit, refine_fit
from preparation.models.chosen_networks import Trackers
from preparation.tracking.clip_checks import MIN_FACE_HEIGHT, MIN_FRAMES, MIN_USABLE, face_height
from preparation.tracking.covered import find_covered
from preparation.tracking.face_finding import track_faces
from preparation.tracking.landmarks import LandmarkTrack, drop_blurred
from preparation.tracking.smoothing import smooth_coefficients, smooth_poses
from scene.dataset_readers import Clip
from utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Tracked:
    """What was found in F of a clip's frames."""

    # Of clip.frames.
    rows: np.ndarray  # [F]
    image_ids: np.ndarray  # [F]
    # Why the other frames are left out, by img_id.
    dropped: dict[int, str]
    head_fit: HeadFit
    refined: PixelFit
    # Smoothed, in the head frame of the fit.
    poses: Poses
    coefficients: np.ndarray  # [F, E]
    pixels: np.ndarray  # [F, 478, 2] the detector's landmarks
    # The detector's, smoothed.
    scores: np.ndarray  # [F, S]
    score_names: tuple[str, ...]

    def with_head_frame(self, change: Similarity) -> "Tracked":
        """The person in the head frame that `change` takes points to; poses stay as they are."""
        person = self.head_fit.person
        moved = replace(
            person,
            scale=float(change.scale * person.scale),
            rotation=change.rotation @ person.rotation,
            translation=change.apply(person.translation[None])[0],
        )
        return replace(self, head_fit=self.head_fit.with_person(moved))


def track_clip(
    clip: Clip, camera: Camera, rate: float, trackers: Trackers, options: PreparationParams
) -> Tracked:
    """Track all frames that have a usable face. rate: frames per second. Raises UserError."""
    track, quiet = _find_faces(clip, trackers, options.quiet), options.quiet
    model, rows = trackers.head(), np.flatnonzero(track.kept)
    landmarks, scores = (values[rows].astype(np.float64) for values in (track.landmarks, track.coefficients))
    detected = Detected(landmarks, scores, track.coefficient_names)
    head_fit = fit_head(model.head, model.places, detected, camera, quiet)
    images = _reader([clip.frames[row].image_path for row in rows])
    refined = refine_fit(images, head_fit, landmarks[..., :2], camera, quiet=quiet)

    is_covered = find_covered(refined.flow, track.chips[rows])
    reasons = track.dropped | dict.fromkeys(rows[is_covered].tolist(), "something covers the face")
    rows, landmarks, scores = (values[~is_covered] for values in (rows, landmarks, scores))
    head_fit, refined = head_fit.select(~is_covered), refined.select(~is_covered)

    all_ids = np.array([frame.image_id for frame in clip.frames])
    image_ids, cutoff = all_ids[rows], options.expression_cutoff / rate
    poses = smooth_poses(refined.poses, image_ids, rate).poses
    head_fit, coefficients = take_over(head_fit, refined, image_ids, cutoff)
    mattes = _reader([clip.frames[row].mask_path for row in rows], cv2.IMREAD_GRAYSCALE)
    return Tracked(
        rows,
        image_ids,
        {int(all_ids[row]): reason for row, reason in sorted(reasons.items())},
        fit_to_mattes(head_fit, poses, coefficients, mattes, camera, quiet),
        refined,
        poses,
        coefficients,
        landmarks[..., :2],
        smooth_coefficients(scores, image_ids, cutoff),
        track.coefficient_names,
    )


def _reader(paths: list[Path], mode: int = cv2.IMREAD_COLOR) -> Callable[[int], np.ndarray]:
    return lambda row: read_image(paths[row], mode)


def _find_faces(clip: Clip, trackers: Trackers, quiet: bool) -> LandmarkTrack:
    """Find the face in every picture. Raises UserError where most have none that can be used."""
    with tempfile.TemporaryDirectory(prefix="gaussianhead.") as scratch:
        track = track_faces(
            (read_image(frame.image_path) for frame in clip.frames),
            (clip.width, clip.height),
            trackers.face_tracker,
            Path(scratch),
            len(clip.frames),
            quiet,
        )
    track = drop_blurred(track)
    usable, total = int(track.kept.sum()), track.num_frames
    if usable < max(MIN_USABLE * total, MIN_FRAMES):
        counts = Counter(reason.partition(" (")[0] for reason in track.dropped.values())
        counted = "".join(f", {count} {reason}" for reason, count in counts.items())
        raise UserError(
            f"{clip.root}: the face can be used in {usable} of {total} pictures{counted}; "
            f"expected at least {MIN_USABLE:.0%} of them, and {MIN_FRAMES}"
        )
    height = face_height(track)
    if height < MIN_FACE_HEIGHT:
        raise UserError(
            f"{clip.root}: the face is {height:.0f} pixels high; expected at least {MIN_FACE_HEIGHT}"
        )
    return track
