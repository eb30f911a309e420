"""How true a tracked clip is: its poses and expressions against those that were rendered.

    python benchmarks/tracking.py data/prepared data/truth

Both are data sets in our layout; frames are matched by img_id. The two head frames differ by one rotation,
which is estimated first; what is left is error. Yaw and pitch are those of the camera around the head.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preparation.geometry.rigid import log_so3, mean_rotation
from scene.dataset_readers import read_transforms
from utils.errors import exit_on_user_error

# Printed apart, sides averaged.
EXPRESSIONS = {
    "jawOpen": ("jawOpen",),
    "blinks": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smiles": ("mouthSmileLeft", "mouthSmileRight"),
    "brows down": ("browDownLeft", "browDownRight"),
    "brows up": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "pucker": ("mouthPucker",),
    "gaze down": ("eyeLookDownLeft", "eyeLookDownRight"),
    "gaze up": ("eyeLookUpLeft", "eyeLookUpRight"),
}
# A true curve that moves less tells nothing.
LEAST_SPREAD = 0.02


def compare_poses(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors in degrees of rotations [F, 3, 3] from camera to head, and slopes of yaw and pitch."""
    between = mean_rotation(found @ truth.transpose(0, 2, 1))
    turned = between.T @ found
    errors = turned @ truth.transpose(0, 2, 1)
    angles = _angle(errors)
    jitter = _angle(errors[1:] @ errors[:-1].transpose(0, 2, 1))
    slopes = {
        name: float(np.polyfit(direction(truth), direction(turned), 1)[0])
        for name, direction in (("yaw slope", _yaw), ("pitch slope", _pitch))
    }
    return {
        "rotation error, mean": float(angles.mean()),
        "rotation error, 95 %": float(np.percentile(angles, 95)),
        "jitter of the error": float(jitter.mean()),
        **slopes,
    }


def compare_expressions(found: np.ndarray, truth: np.ndarray, names: list[str]) -> dict[str, float]:
    """Correlation of coefficients [F, E] with the true ones, by region; lively curves only."""
    scores = {}
    for region, members in EXPRESSIONS.items():
        columns = [names.index(name) for name in members if truth[:, names.index(name)].std() > LEAST_SPREAD]
        if columns:
            each = [np.corrcoef(found[:, column], truth[:, column])[0, 1] for column in columns]
            scores[region] = float(np.mean(each))
    return scores


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("found", type=Path)
    parser.add_argument("truth", type=Path)
    options = parser.parse_args()
    clips = [read_transforms(folder) for folder in (options.found, options.truth)]
    frames = [{frame.image_id: frame for frame in clip.frames} for clip in clips]
    ids = sorted(set(frames[0]) & set(frames[1]))
    print(f"{len(ids)} frames")
    poses = [np.stack([known[i].camera_to_world[:3, :3] for i in ids]) for known in frames]
    for name, value in compare_poses(*poses).items():
        print(f"  {name:24s} {value:.3f}")
    names, true_names = (list(clip.expression_names) for clip in clips)
    found, truth = (np.stack([known[i].expression for i in ids]) for known in frames)
    order = [names.index(name) for name in true_names]
    print("correlation of coefficients with the true ones")
    for region, value in compare_expressions(found[:, order], truth, true_names).items():
        print(f"  {region:24s} {value:.3f}")


def _angle(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.linalg.norm(log_so3(rotations), axis=-1))


def _yaw(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2]))


def _pitch(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.arcsin(np.clip(rotations[:, 1, 2], -1, 1)))


if __name__ == "__main__":
    main()
