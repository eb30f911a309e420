"""The numbers of the report."""

from typing import Any

import numpy as np

from preparation.heads import Solution
from preparation.photometric import Refinement
from preparation.rigid import Poses, log_so3
from preparation.smoothing import SmoothedPoses, jitter
from preparation.torso import TorsoMotion


def measure(
    solution: Solution,
    refinement: Refinement,
    smoothed: SmoothedPoses,
    image_ids: np.ndarray,
    torso: TorsoMotion | None,
) -> dict[str, Any]:
    """The numbers of the report; lengths in pixels of the data set, head units, degrees."""

    def jitter_of(poses: Poses) -> dict[str, float]:
        turns = np.rad2deg(log_so3(poses.rotations @ poses.rotations[0].T))
        return {
            "degrees": float(np.mean(jitter(turns, image_ids))),
            "head_units": float(np.mean(jitter(poses.translations, image_ids))),
        }

    distances = smoothed.poses.translations[:, 2]
    numbers = {
        "reprojection_px": {
            "mean": float(solution.reprojection.mean()),
            "worst_frame": float(solution.reprojection.mean(axis=1).max()),
        },
        "photometric_px": {
            "mean": float(refinement.flow.mean()),
            "worst_frame": float(refinement.flow.max()),
            "median": refinement.median_flow,
            "mean_with_landmark_poses": refinement.landmark_flow,
            "frames_left_with_landmark_pose": int(refinement.is_rejected.sum()),
        },
        "jitter": {
            "landmarks": jitter_of(solution.poses),
            "before_smoothing": jitter_of(refinement.poses),
            "after_smoothing": jitter_of(smoothed.poses),
        },
        "smoothing_cutoff_cycles_per_frame": {
            "rotation": smoothed.cutoffs[0],
            "translation": smoothed.cutoffs[1],
        },
        "camera_distance": [float(distances.min()), float(distances.max())],
    }
    if torso:
        numbers["torso"] = {
            "frames_measured": int(torso.is_measured.sum()),
            "model": torso.model,
            "held_out_error_px": torso.held_out_errors,
        }
    return numbers
