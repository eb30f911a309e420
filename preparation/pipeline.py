"""The steps from a video to a data set, in order, each of which can be taken up again after an interruption.

What a step found is kept in out/.prepare until the data set is complete; transforms.json is written last.
"""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from preparation import checks
from preparation.clothes import follow_clothes
from preparation.crop import crop_points
from preparation.dataset_files import Layout, write_tracking, write_transforms
from preparation.expressions import smooth_expressions
from preparation.files import read_image
from preparation.heads import solve_heads
from preparation.landmarks import drop_blurred, track_faces
from preparation.measures import measure
from preparation.options import Networks, Options
from preparation.output_folder import open_output
from preparation.photometric import refine_poses
from preparation.pictures import frame_size, write_frames, write_mattes
from preparation.report import write_reports
from preparation.smoothing import smooth_poses
from preparation.video import open_video, read_frames
from utils.json_files import write_json

TRACKING_SIDE = 1920  # pixels: larger frames are shrunk for the landmarks, whose network sees a face at 256
_HDR_NOTE = "the video is HDR: its colours are taken as they are stored, which looks pale"


def prepare(options: Options, networks: Networks) -> dict[str, Any]:
    """Make the data set; returns its report. Raises UserError."""
    clock = _Clock()
    layout = Layout(options.out)
    video = open_video(options.video, options.start, options.end)
    open_output(layout, options)
    size = frame_size(video)
    every = max(1, math.ceil(video.rate / options.fps - 0.02))  # 59.94 is 60

    with clock("tracking"):
        track = track_faces(
            read_frames(video, max_side=TRACKING_SIDE),
            size,
            networks.face_tracker,
            layout.work / "landmarks",
            video.expected_frames,
            options.quiet,
        )
    track = drop_blurred(track)
    checks.check_track(track, str(options.video), track.num_frames / video.rate)
    expressions = smooth_expressions(track, options.expression_cutoff / video.rate)
    with clock("head poses"):
        solution = solve_heads(track, size, options, every)
    image_ids, rate = solution.frames // every, video.rate / every
    checks.check_motion(solution.poses, expressions[solution.frames], image_ids, rate, str(options.video))

    with clock("frames"):
        write_frames(video, layout, solution, every, options)

    def read_frame(row: int) -> np.ndarray:
        return read_image(layout.image(int(image_ids[row])))

    with clock("aligning pixels"):
        refinement = refine_poses(
            read_frame, solution.poses, solution.landmarks, solution.camera, layout.work, options.quiet
        )
    smoothed = smooth_poses(refinement.poses, image_ids, rate)
    pixels = crop_points(track.landmarks[solution.frames, :, :2], solution.crop, options.size)
    with clock("mattes"):
        flickers = write_mattes(layout, image_ids, pixels, networks, options)
    torso = None
    if options.torso:
        with clock("torso"):
            files = [
                list(map(place, image_ids.tolist())) for place in (layout.image, layout.mask, layout.parsing)
            ]
            torso = follow_clothes(*files, smoothed.poses, solution.camera, options.quiet)

    seconds = video.start + solution.frames / video.rate
    write_tracking(layout.tracking, solution.landmarks, pixels, image_ids)
    write_reports(
        layout, solution, refinement, smoothed.poses, track, expressions, pixels, image_ids, seconds
    )
    summary = {
        "video": options.video.name,
        "frames": len(image_ids),
        "rate": rate,
        "networks": networks.names,
        "focal": {"pixels": solution.camera.focal, "source": solution.focal_source},
        "crop": solution.crop._asdict(),
        "notes": [_HDR_NOTE] if video.is_hdr else [],
        **measure(solution, refinement, smoothed, image_ids, torso),
        "expression_cutoff_hz": options.expression_cutoff,
        "matte_flicker_gray_levels": flickers,
        "seconds": clock.seconds,
        "frames_per_second": clock.rates(track.num_frames, len(image_ids)),
        "dropped": {str(frame): reason for frame, reason in sorted(track.dropped.items())},
    }
    write_json(layout.report / "report.json", summary, allow_nan=False)
    write_transforms(
        layout.transforms,
        options.size,
        solution.camera,
        image_ids,
        smoothed.poses,
        expressions[solution.frames],
        track.coefficient_names,
        seconds,
        torso.transforms if torso else None,
        source={"video": options.video.name, "rate": rate, "focal": solution.focal_source},
    )
    shutil.rmtree(layout.work)
    return summary


class _Clock:
    """Wall-clock seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 3)

    def rates(self, num_tracked: int, num_frames: int) -> dict[str, float]:
        """Frames per second of each step; meaningless for what an earlier, interrupted run did."""
        counts = {"tracking": num_tracked, "head poses": num_tracked}
        return {
            step: round(counts.get(step, num_frames) / max(seconds, 1e-3), 1)
            for step, seconds in self.seconds.items()
        }
