"""report.json: the numbers that tell how good a data set is, and where the time went."""

from typing import Any

import numpy as np

from preparation.geometry.rigid import Poses, log_so3
from preparation.head_fit.pixel_fit import PixelFit
from preparation.report.head_section import head_section
from preparation.tracking.poses_from_pixels import Refinement
from preparation.tracking.smoothing import jitter
from preparation.video import Video
from preparation.work import Work
from utils.json_files import write_json

_PALE = "the video is HDR and this ffmpeg has no zscale: its colours are taken as they are, which looks pale"
_TONE_MAPPED = "the video is HDR: tone-mapped to the colours of an ordinary one (BT.709)"
# Steps that look at every frame of the video; the others look at the images.
_OVER_THE_VIDEO = ("tracking", "head poses")


def write_report_json(work: Work) -> dict[str, Any]:
    """Write the numbers of a clip, and return them: pixels of the images, head units, degrees."""
    head, options, video = work.head, work.options, work.video
    report = {
        "video": options.video.name,
        "frames": len(work.image_ids),
        "rate": work.rate,
        "networks": work.networks.names,
        "focal": {"pixels": head.camera.focal, "source": head.focal_source},
        "crop": head.crop._asdict(),
        "notes": [*_color_notes(video), *work.notes],
        **_measures(work),
        "head": head_section(work),
        "expression_cutoff_hz": options.expression_cutoff,
        "matte_flicker_gray_levels": work.flicker,
        "seconds": work.seconds,
        "frames_per_second": _speeds(work),
        "dropped": {str(frame): reason for frame, reason in sorted(work.track.dropped.items())},
    }
    write_json(work.layout.report / "report.json", report, allow_nan=False)
    return report


def _color_notes(video: Video) -> list[str]:
    if not video.is_hdr:
        return []
    return [_TONE_MAPPED if video.is_tone_mapped else _PALE]


def _measures(work: Work) -> dict[str, Any]:
    reprojection, smoothed = work.head.reprojection, work.smoothed
    distances = smoothed.poses.translations[:, 2]
    numbers = {
        "reprojection_px": {
            "mean": float(reprojection.mean()),
            "worst_frame": float(reprojection.mean(axis=1).max()),
        },
        "photometric_px": flow_summary(work.refinement),
        "jitter": {
            "landmarks": _jitter(work.head.poses, work.image_ids),
            "before_smoothing": _jitter(work.refinement.poses, work.image_ids),
            "after_smoothing": _jitter(smoothed.poses, work.image_ids),
        },
        "smoothing_cutoff_cycles_per_frame": {
            "rotation": smoothed.cutoffs[0],
            "translation": smoothed.cutoffs[1],
        },
        "camera_distance": [float(distances.min()), float(distances.max())],
    }
    if work.torso:
        numbers["torso"] = {
            "frames_measured": int(work.torso.is_measured.sum()),
            "model": work.torso.model,
            "held_out_error_px": work.torso.held_out_errors,
        }
    return numbers


def flow_summary(refinement: Refinement | PixelFit) -> dict[str, float]:
    """What is left of the optical flow, pixels."""
    return {
        "mean": float(refinement.flow.mean()),
        "worst_frame": float(refinement.flow.max()),
        "median": refinement.median_flow,
        "mean_with_landmark_poses": refinement.landmark_flow,
        "frames_left_with_landmark_pose": int(refinement.is_rejected.sum()),
    }


def _jitter(poses: Poses, image_ids: np.ndarray) -> dict[str, float]:
    turns = np.rad2deg(log_so3(poses.rotations @ poses.rotations[0].T))
    return {
        "degrees": float(np.mean(jitter(turns, image_ids))),
        "head_units": float(np.mean(jitter(poses.translations, image_ids))),
    }


def _speeds(work: Work) -> dict[str, float]:
    """Frames per second of each step; meaningless for what an earlier, interrupted run did."""
    counts = dict.fromkeys(_OVER_THE_VIDEO, work.track.num_frames)
    return {
        step: round(counts.get(step, len(work.image_ids)) / max(seconds, 1e-3), 1)
        for step, seconds in work.seconds.items()
    }
