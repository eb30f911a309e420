"""transforms.json as it will be, report.json, and the notes for a person.

Of transforms.json all that is not found anew stays as it was: cameras, keys of others, the order of frames.
"""

from typing import Any

import numpy as np

from arguments import PreparationParams
from parametric_head.model import NAME
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import DIGITS, camera_to_world
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import STABLE
from preparation.geometry.pose_alignment import Agreement
from preparation.geometry.rigid import Poses
from preparation.report.head_measures import explained_motion, turned_range, verdict
from preparation.report.report_json import flow_summary
from preparation.retracking.tracked import Tracked
from preparation.tracking.bundle_adjustment import reprojection_errors
from preparation.tracking.smoothing import runs
from scene.dataset_readers import Clip
from utils.json_files import read_json

FOCAL_SOURCE = "the data set's own"


def new_transforms(
    document: dict[str, Any], clip: Clip, tracked: Tracked, old: Poses, options: PreparationParams
) -> dict[str, Any]:
    """What transforms.json will say. document: what it said; old: its poses of the tracked frames."""
    by_id = {image_id: row for row, image_id in enumerate(tracked.image_ids.tolist())}
    entries = [dict(entry) for entry in document["frames"] if entry["img_id"] in by_id]
    rows = [by_id[entry["img_id"]] for entry in entries]
    new = {name: value for name, value in document.items() if name != "frames"}
    made = {"head": NAME, "focal": FOCAL_SOURCE}
    if options.keep != "expressions":
        is_solved = options.expressions == "solved"
        new["exp_names"] = list(tracked.head_fit.head.names if is_solved else tracked.score_names)
        made["expressions"] = options.expressions
        values = np.round(tracked.coefficients if is_solved else tracked.scores, 6).tolist()
        for entry, row in zip(entries, rows, strict=True):
            entry["exp_ori"] = values[row]
    if options.keep != "poses":
        matrices = np.round(camera_to_world(tracked.poses), DIGITS).tolist()
        # The torso moves in camera space, in units of the head frame, and these may have become others.
        scale = np.median(tracked.poses.translations[:, 2]) / np.median(old.translations[:, 2])
        for entry, row in zip(entries, rows, strict=True):
            entry["transform_matrix"] = matrices[row]
            if "torso_transform" in entry:
                entry["torso_transform"] = _scaled(entry["torso_transform"], scale)
    if options.keep:
        made["kept"] = options.keep
    following = clip.root / "mask" / f"{tracked.image_ids.max() + 1}.png"
    if clip.mask_offset != following.is_file():
        # Else the mask of a frame that is left out would be taken for the last one's.
        new["mask_offset"] = clip.mask_offset
    source = new.get("source")
    new["source"] = {**(source if isinstance(source, dict) else {}), **made}
    return {**new, "frames": entries}


def _scaled(motion: list, scale: float) -> list:
    """A rigid motion [4, 4] of a space that is `scale` times as large."""
    motion = np.array(motion, np.float64)
    motion[:3, 3] *= scale
    return np.round(motion, DIGITS).tolist()


def report_of(tracked: Tracked, camera: Camera, agreement: Agreement, kept: str | None) -> dict[str, Any]:
    """report.json: pixels of the pictures, degrees."""
    head_fit, refined = tracked.head_fit, tracked.refined
    seen = (head_fit.fit.landmark_poses, tracked.pixels, camera)
    errors = reprojection_errors(tracked.pixels[:, STABLE], head_fit.landmarks[STABLE], tracked.poses, camera)
    turned = turned_range(tracked.poses)
    return {
        "frames": len(tracked.rows),
        "kept": kept,
        "focal": {"pixels": camera.focal, "source": FOCAL_SOURCE},
        "old_poses": {
            "meaning": "against the new ones, after one similarity over all frames",
            "degrees": _summary(agreement.degrees),
            "pixels": _summary(agreement.pixels),
        },
        "reprojection_px": {"mean": float(errors.mean()), "worst_frame": float(errors.mean(axis=1).max())},
        "photometric_px": flow_summary(refined),
        "head": {
            "model": head_fit.head.signature,
            "turned_degrees": {"yaw": list(turned.yaw), "pitch": list(turned.pitch)},
            "verdict": verdict(turned),
            "explained_motion": {"solved": explained_motion(head_fit.mesh, tracked.coefficients, *seen)},
        },
        "dropped": {str(image_id): reason for image_id, reason in tracked.dropped.items()},
    }


def _summary(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "95_percent": float(np.percentile(values, 95)),
        "worst": float(values.max()),
    }


def notes_of(dropped: dict[int, str], layout: Layout, document: dict[str, Any]) -> tuple[str, ...]:
    """What a person should know. document: transforms.json from before tracking."""
    notes = []
    short = {image_id: reason.partition(" (")[0] for image_id, reason in dropped.items()}
    for reason in dict.fromkeys(short.values()):
        ids = np.array([image_id for image_id, why in short.items() if why == reason])
        notes.append(f"{reason}: {len(ids)} frames left out of transforms.json, img_id {_in_words(ids)}")
    if not _has_torso(document) and layout.transforms.is_file() and _has_torso(read_json(layout.transforms)):
        notes.append("torso_transform, measured after tracking, is gone: measure it again by --torso-only")
    return tuple(notes)


def _has_torso(document: dict[str, Any]) -> bool:
    return any("torso_transform" in entry for entry in document["frames"])


def _in_words(ids: np.ndarray) -> str:
    """Ascending numbers [N]: 3, 7 to 9."""
    spans = (ids[run] for run in runs(ids))
    return ", ".join(f"{span[0]} to {span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans)
