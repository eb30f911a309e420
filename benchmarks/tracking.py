"""How true a tracked clip is: its poses and expressions against those that were rendered.

    python benchmarks/tracking.py data/prepared data/truth

Both are data sets in our layout; frames are matched by img_id. The two head frames differ by one rotation,
which is estimated first; what is left is error. Yaw and pitch are those of the camera around the head.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

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
    between = _nearest_rotation(np.einsum("fij,fkj->ik", found, truth))
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


def read(folder: Path) -> tuple[list[str], dict[int, dict[str, Any]]]:
    """Names of the coefficients, and the frames of a data set by img_id."""
    document = json.loads((folder / "transforms.json").read_text())
    return document["exp_names"], {frame["img_id"]: frame for frame in document["frames"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("found", type=Path)
    parser.add_argument("truth", type=Path)
    options = parser.parse_args()
    names, found = read(options.found)
    true_names, truth = read(options.truth)
    ids = sorted(set(found) & set(truth))
    poses = [
        np.array([frames[i]["transform_matrix"] for i in ids], np.float64)[:, :3, :3]
        for frames in (found, truth)
    ]
    print(f"{len(ids)} frames")
    for name, value in compare_poses(*poses).items():
        print(f"  {name:24s} {value:.3f}")
    order = [names.index(name) for name in true_names]
    coefficients = np.array([found[i]["exp_ori"] for i in ids])[:, order]
    wanted = np.array([truth[i]["exp_ori"] for i in ids])
    print("correlation of coefficients with the true ones")
    for region, value in compare_expressions(coefficients, wanted, true_names).items():
        print(f"  {region:24s} {value:.3f}")


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def _angle(rotations: np.ndarray) -> np.ndarray:
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _yaw(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2]))


def _pitch(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.arcsin(np.clip(rotations[:, 1, 2], -1, 1)))


if __name__ == "__main__":
    main()
