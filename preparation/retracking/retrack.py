"""The order of things: read, track, compare with the old poses, write.

Everything is found before anything is written, and transforms.json is written last. What it was at first lies
beside it, and every later run begins from there. An interrupted run is repeated.
"""

from pathlib import Path
from typing import Any

import numpy as np

from arguments import PreparationParams
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import poses_from, write_tracking
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import STABLE
from preparation.geometry.pose_alignment import compare_poses
from preparation.head_fit.head_fit import head_document
from preparation.head_fit.score_map import learn_score_map, named_scores
from preparation.models.chosen_networks import Trackers, find_trackers
from preparation.retracking.documents import FOCAL_SOURCE, new_transforms, notes_of, report_of
from preparation.retracking.tracked import Tracked, track_clip
from scene.dataset_readers import Clip, read_transforms, with_pictures
from utils.errors import UserError
from utils.files import write_bytes
from utils.json_files import read_json, write_json

# Of fx and fy: the head model is seen with one focal length.
_SQUARE = 0.02


def retrack(options: PreparationParams, trackers: Trackers | None = None) -> dict[str, Any]:
    """Track the head of `options.track_only` anew; returns the report. Raises UserError.

    trackers: found, or downloaded, where they are not given.
    """
    layout = Layout(options.track_only)
    _refuse_tracked(layout, options.overwrite)
    before = layout.transforms_before_tracking
    source = before if before.is_file() else layout.transforms
    clip = with_pictures(read_transforms(layout.root, name=source.name), options.check_data)
    document, camera = read_json(source), _camera(clip, source)
    rate = _rate(document)
    tracked = track_clip(clip, camera, rate or options.fps, trackers or find_trackers(options), options)
    old = poses_from(np.stack([clip.frames[row].camera_to_world for row in tracked.rows]))
    agreement = compare_poses(tracked.poses, old, tracked.head_fit.landmarks[STABLE], camera)
    notes = notes_of(tracked.dropped, layout, document)
    if rate is None:
        notes += (f"no times in transforms.json: smoothed as {options.fps:g} frames per second, see --fps",)
    report = report_of(tracked, camera, agreement, options.keep) | {
        "rate": rate or options.fps,
        "notes": notes,
    }
    if options.keep == "poses":
        tracked = tracked.with_head_frame(agreement.change)
    document = new_transforms(document, clip, tracked, old, options)
    _write(layout, document, report, tracked, camera)
    return report


def _refuse_tracked(layout: Layout, overwrite: bool) -> None:
    """Refuse a data set that has what would be found. Raises UserError."""
    if overwrite or not layout.transforms.is_file():
        return
    made = read_json(layout.transforms).get("source")
    if isinstance(made, dict) and "head" in made:
        raise UserError(
            f"{layout.transforms}: tracked with the head model already; track it anew by --overwrite"
        )


def _camera(clip: Clip, source: Path) -> Camera:
    if abs(clip.fx / clip.fy - 1) > _SQUARE:
        raise UserError(
            f"{source}: fx {clip.fx:g} and fy {clip.fy:g} differ by more than {_SQUARE:.0%}; expected square "
            "pixels: scale pictures, mattes and camera"
        )
    return Camera((clip.fx * clip.fy) ** 0.5, np.array([clip.cx, clip.cy]))


def _rate(document: dict[str, Any]) -> float | None:
    """Frames per second, one img_id after the other, by `time` of the frames; None where they have none."""
    times = sorted((entry["img_id"], entry.get("time")) for entry in document["frames"])
    (first, start), (last, end) = times[0], times[-1]
    is_known = all(type(time) in (int, float) and np.isfinite(time) for time in (start, end))
    return (last - first) / (end - start) if is_known and end > start else None


def _write(
    layout: Layout, document: dict[str, Any], report: dict[str, Any], tracked: Tracked, camera: Camera
) -> None:
    """Write everything, transforms.json last; what that was stays beside it."""
    layout.remove_leftovers()
    if not layout.transforms_before_tracking.is_file():
        write_bytes(layout.transforms_before_tracking, layout.transforms.read_bytes())
    head_fit, ids = tracked.head_fit, tracked.image_ids
    write_tracking(layout.tracking, head_fit.landmarks, tracked.pixels, ids, tracked.scores)
    scores = named_scores(tracked.scores, tracked.score_names, head_fit.head.names)
    score_map = learn_score_map(scores, tracked.coefficients, head_fit.head.names)
    head = head_document(head_fit, camera, FOCAL_SOURCE, score_map)
    write_json(layout.head, head, indent=None, allow_nan=False)
    write_json(layout.report / "report.json", report, allow_nan=False)
    write_json(layout.transforms, document, indent=None, allow_nan=False)
