"""The steps of the pipeline: each takes the record of a clip and returns it with what it found."""

from dataclasses import replace

import numpy as np

from preparation.data_set.frames import write_frames
from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.transforms import FrameRows, write_tracking, write_transforms
from preparation.report.contact_sheet import write_contact_sheet
from preparation.report.curves import write_curves
from preparation.report.report_json import write_report_json
from preparation.segmentation.masks import write_masks
from preparation.torso.clothes import FrameFiles, follow_clothes
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

    refinement = refine_poses(read_frame, head.poses, head.landmarks, head.camera, work.layout.scratch, quiet)
    work = _leave_out_covered(replace(work, refinement=refinement))
    return replace(work, smoothed=smooth_poses(work.refinement.poses, work.image_ids, work.rate))


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
        track=replace(work.track, dropped=work.track.dropped | reasons),
        notes=(*work.notes, note),
    )


def matte_person(work: Work) -> Work:
    """Write mattes and, where they are wanted, maps of head, neck and torso."""
    options, ids, pixels = work.options, work.image_ids, work.image_landmarks
    flicker = write_masks(work.layout, ids, pixels, work.networks, options.wants_parsing, options.quiet)
    return replace(work, flicker=flicker)


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
    write_tracking(layout.tracking, head.landmarks, work.image_landmarks, work.image_ids)
    frames = FrameRows(
        work.image_ids,
        work.smoothed.poses,
        work.image_expressions,
        work.image_times,
        work.torso.transforms if work.torso else None,
    )
    source = {"video": options.video.name, "rate": work.rate, "focal": head.focal_source}
    size = (options.size, options.size)
    write_transforms(layout.transforms, size, head.camera, frames, work.track.coefficient_names, source)
    return work
