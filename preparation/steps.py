"""The steps of the pipeline: each takes the record of a clip and returns it with what it found."""

from dataclasses import replace

import cv2
import numpy as np

from parametric_head.model import NAME
from preparation.data_set.frames import write_frames
from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.transforms import FrameRows, write_tracking, write_transforms
from preparation.geometry.landmark_names import STABLE
from preparation.head_fit.finishing import fit_to_mattes, take_over
from preparation.head_fit.head_fit import Detected, fit_head, head_document
from preparation.head_fit.pixel_fit import refine_fit
from preparation.head_fit.score_map import learn_score_map
from preparation.report.contact_sheet import write_contact_sheet
from preparation.report.curves import write_curves
from preparation.report.report_json import write_report_json
from preparation.segmentation.head_parsing import HeadParser
from preparation.segmentation.masks import write_head_parsing, write_masks
from preparation.torso.clothes import FrameFiles, follow_clothes
from preparation.tracking.bundle_adjustment import reprojection_errors
from preparation.tracking.clip_checks import check_motion, check_track
from preparation.tracking.covered import find_covered, spans
from preparation.tracking.face_finding import track_faces
from preparation.tracking.landmarks import drop_blurred
from preparation.tracking.poses_from_landmarks import solve_heads
from preparation.tracking.poses_from_pixels import refine_poses
from preparation.tracking.shots import check_shots
from preparation.tracking.smoothing import smooth_expressions, smooth_poses
from preparation.tracking.upright import NUM_FRAMES, check_upright, turn_needed
from preparation.video import read_frames
from preparation.work import Work
from utils.errors import UserError
from utils.json_files import write_json

# Pixels: larger frames are shrunk for the landmarks, whose network sees a face at 256.
TRACKING_SIDE = 1920
# Pixels: enough to see whether a face is upright.
TURNED_SIDE = 640


def track_face(work: Work) -> Work:
    """Find landmarks and expression in every frame; a clip in which the face can't be followed is refused."""
    options, video = work.options, work.video
    track = track_faces(
        read_frames(video, max_side=TRACKING_SIDE),
        work.size,
        work.networks.face_tracker,
        work.layout.landmarks,
        video.expected_frames,
        options.quiet,
    )
    track = drop_blurred(track)
    try:
        check_track(track, str(options.video), track.num_frames / video.rate)
        check_upright(track, str(options.video))
    except UserError:
        _refuse_turned(work)
        raise
    notes = ()
    if options.check_shots:
        notes = tuple(check_shots(track, video.rate, video.start, str(options.video)))
    expressions = smooth_expressions(track, options.expression_cutoff / video.rate)
    return replace(work, track=track, expressions=expressions, notes=(*work.notes, *notes))


def _refuse_turned(work: Work) -> None:
    """Say how to turn a clip that lies on its side or stands on its head, where that is what is wrong."""
    video = work.video
    every = max(1, video.expected_frames // NUM_FRAMES)
    frames = read_frames(video, max_side=TURNED_SIDE, every=every)
    if turn := turn_needed(frames, work.networks.face_tracker):
        stored = {90: "lies on its side", 180: "stands on its head", 270: "lies on its side"}[turn]
        turn = (turn + video.rotation) % 360
        raise UserError(f"{video.path}: the picture {stored}; turn it upright by --rotate {turn}")


def solve_head_poses(work: Work) -> Work:
    """Find the person's shape and a pose for every frame, and choose crop and camera; stills are refused."""
    work = replace(work, head=solve_heads(work.track, work.size, work.options, work.every))
    name = str(work.options.video)
    check_motion(work.head.poses, work.image_expressions, work.image_ids, work.rate, name)
    return work


def fit_head_model(work: Work) -> Work:
    """Fit the head model to the landmarks: who it is, and pose and expression of every image."""
    head, options = work.head, work.options
    model = work.networks.head()
    tracked = work.track.landmarks[head.frames]
    depth = tracked[..., 2:].astype(np.float64) * (options.size / head.crop.side)
    detected = Detected(
        np.concatenate([work.image_landmarks, depth], axis=-1),
        work.track.coefficients[head.frames],
        work.track.coefficient_names,
    )
    head_fit = fit_head(model.head, model.places, detected, head.camera, options.quiet)
    stable, poses = work.image_landmarks[:, STABLE], head_fit.fit.poses
    errors = reprojection_errors(stable, head_fit.landmarks[STABLE], poses, head.camera)
    head = replace(head, landmarks=head_fit.landmarks, poses=poses, reprojection=errors)
    return replace(work, head=head, head_fit=head_fit)


def cut_out_frames(work: Work) -> Work:
    """Write the window of every frame that is kept."""
    options = work.options
    window, size = work.head.crop, options.size
    write_frames(work.video, work.layout, work.image_ids, work.every, window, size, options.quiet)
    return work


def align_pixels(work: Work) -> Work:
    """Refine the poses on the pixels of the images, then smooth them in time."""
    head, image_ids, quiet = work.head, work.image_ids, work.options.quiet

    def read_frame(row: int) -> np.ndarray:
        return read_image(work.layout.image(int(image_ids[row])))

    scratch = work.layout.scratch
    if work.head_fit is None:
        refinement = refine_poses(read_frame, head.poses, head.landmarks, head.camera, scratch, quiet)
    else:
        pixels = work.image_landmarks
        refinement = refine_fit(read_frame, work.head_fit, pixels, head.camera, scratch, quiet)
    work = _leave_out_covered(replace(work, refinement=refinement))
    work = replace(work, smoothed=smooth_poses(work.refinement.poses, work.image_ids, work.rate))
    return work if work.head_fit is None else _take_over_fit(work)


def _take_over_fit(work: Work) -> Work:
    """The fit of the pixels becomes the head model's, with mended depth and coefficients smoothed in time."""
    cutoff = work.options.expression_cutoff / work.rate
    head_fit, coefficients = take_over(work.head_fit, work.refinement, work.image_ids, cutoff)
    return replace(work, head_fit=head_fit, coefficients=coefficients)


def _leave_out_covered(work: Work) -> Work:
    """Without the frames in which something covers the face, and their images."""
    is_covered = find_covered(work.refinement.flow, work.track.chips[work.head.frames])
    if not is_covered.any():
        return work
    for image_id in work.image_ids[is_covered]:
        work.layout.image(int(image_id)).unlink(missing_ok=True)
    times = spans(work.image_times[is_covered], 1 / work.rate)
    note = f"something covers the face at {', '.join(times)}: {is_covered.sum()} frames left out"
    reasons = dict.fromkeys(work.head.frames[is_covered].tolist(), "something covers the face")
    return replace(
        work,
        head=work.head.select(~is_covered),
        refinement=work.refinement.select(~is_covered),
        head_fit=work.head_fit and work.head_fit.select(~is_covered),
        track=replace(work.track, dropped=work.track.dropped | reasons),
        notes=(*work.notes, note),
    )


def matte_person(work: Work) -> Work:
    """Write mattes and, where they are wanted, maps of head, neck and torso."""
    options, ids, pixels = work.options, work.image_ids, work.image_landmarks
    wants_parsing = options.wants_parsing and not work.parses_by_head
    flicker = write_masks(work.layout, ids, pixels, work.networks, wants_parsing, options.quiet)
    return replace(work, flicker=flicker)


def fit_to_outline(work: Work) -> Work:
    """Fit skull, ears and neck of the head model to the outline of some mattes."""

    def read_matte(row: int) -> np.ndarray:
        return read_image(work.layout.mask(int(work.image_ids[row])), cv2.IMREAD_GRAYSCALE)

    poses, camera, quiet = work.smoothed.poses, work.head.camera, work.options.quiet
    head_fit = fit_to_mattes(work.head_fit, poses, work.coefficients, read_matte, camera, quiet)
    return replace(work, head_fit=head_fit)


def parse_by_head(work: Work) -> Work:
    """Write maps of head, neck and torso by the head model."""
    parser = HeadParser(work.head_fit.head, work.head.camera)
    write_head_parsing(work.layout, work.image_ids, work.vertices, parser, work.options.quiet)
    return work


def follow_torso(work: Work) -> Work:
    """Follow the clothes; a torso that can't be followed is left out."""
    layout, ids = work.layout, work.image_ids.tolist()
    files = FrameFiles(*(list(map(place, ids)) for place in (layout.image, layout.mask, layout.parsing)))
    torso = follow_clothes(files, work.smoothed.poses, work.head.camera, work.options.quiet)
    return replace(work, torso=torso)


def write_report(work: Work) -> Work:
    """Write what a person looks at, and the numbers of the steps so far."""
    write_contact_sheet(work)
    write_curves(work)
    return replace(work, report=write_report_json(work))


def write_data_set(work: Work) -> Work:
    """Write cameras, poses and expressions: from here on the folder is a data set."""
    head, options, layout = work.head, work.options, work.layout
    write_tracking(layout.tracking, head.landmarks, work.image_landmarks, work.image_ids, work.image_scores)
    if work.head_fit is not None:
        _write_head(work)
    frames = FrameRows(
        work.image_ids,
        work.smoothed.poses,
        work.image_expressions,
        work.image_times,
        work.torso.transforms if work.torso else None,
    )
    source = {"video": options.video.name, "rate": work.rate, "focal": head.focal_source}
    if work.head_fit is not None:
        source |= {"head": NAME, "expressions": options.expressions}
    size = (options.size, options.size)
    write_transforms(layout.transforms, size, head.camera, frames, work.expression_names, source)
    return work


def _write_head(work: Work) -> None:
    """Write head.json: the person, and the map from the detector's scores to coefficients."""
    head_fit = work.head_fit
    score_map = learn_score_map(work.named_scores, work.coefficients, head_fit.head.names)
    document = head_document(head_fit, work.head.camera, work.head.focal_source, score_map)
    write_json(work.layout.head, document, indent=None, allow_nan=False)
