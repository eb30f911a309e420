"""Scores of a run's held-out frames by how far the head is turned, inside the truth's matte and outside.

    python benchmarks/turned.py output/a                    the frames that render.py drew of the test split
    python benchmarks/turned.py output/a --edges 0 5 15 25 38 90

Yaw is that of the camera in the head frame. "inside" is the PSNR of the pixels within the truth's matte
alone, "outside" the share of pixels, per mille, that show something farther than 5 pixels outside of it;
"sharpness" the mean squared Laplacian in the eroded matte, render over truth.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from arguments import stored_config
from scene.dataset_readers import Clip, read_transforms
from scoring.grouping import YAW_EDGES, yaw_of
from utils.checkpoint import list_iterations
from utils.errors import UserError, exit_on_user_error
from utils.masks import scaled_radius

# Pixels at a width of 512.
MARGIN, EROSION = 5, 4
SCORES = ("psnr", "ssim", "inside", "outside", "sharpness")


def score_view(render: np.ndarray, truth: np.ndarray, matte: np.ndarray, ssim: float) -> dict[str, float]:
    """Score pictures [H, W, 3] in 0 to 1 on white, with the truth's matte [H, W]."""
    squared = ((render - truth) ** 2).mean(axis=2)
    margin, erosion = (_disc(scaled_radius(radius, matte.shape[1])) for radius in (MARGIN, EROSION))
    far = cv2.dilate((matte > 1 / 255).astype(np.uint8), margin) == 0
    inner = cv2.erode((matte > 0.99).astype(np.uint8), erosion) > 0
    shows = abs(render - 1).max(axis=2) > 1.5 / 255
    return {
        "psnr": _decibel(squared.mean()),
        "ssim": ssim,
        "inside": _decibel(squared[matte > 0.5].mean()),
        "outside": 1e3 * float((shows & far).mean()),
        "sharpness": _roughness(render, inner) / _roughness(truth, inner),
    }


def by_yaw(rows: Sequence[dict[str, float]], edges: Sequence[float]) -> list[dict[str, Any]]:
    """Means of the rows between two neighbouring edges of |yaw|; none where there are no rows."""
    table = []
    for low, high in itertools.pairwise(edges):
        chosen = [row for row in rows if low <= abs(row["yaw"]) < high]
        if chosen:
            means = {name: float(np.mean([row[name] for row in chosen])) for name in SCORES}
            table.append({"from": low, "to": high, "frames": len(chosen), **means})
    return table


def score_run(run: Path, clip: Clip) -> list[dict[str, float]]:
    """Score the pictures that render.py drew of held-out frames. Raises UserError where there are none."""
    iterations = list_iterations(run / "model")
    folder = run / "test" / f"ours_{iterations[-1]}" if iterations else run / "test"
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path}: missing; run: python render.py -m {run} --skip_train")
    frames = {frame.image_id: frame for frame in clip.frames}
    rows = []
    for index, view in enumerate(json.loads(path.read_text())["per_view"]):
        frame = frames[view["image_id"]]
        render, truth = (_read(folder / kind / f"{index:05d}.png") for kind in ("renders", "gt"))
        matte = cv2.imread(str(frame.mask_path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
        if matte.shape != truth.shape[:2]:
            matte = cv2.resize(matte, truth.shape[1::-1], interpolation=cv2.INTER_AREA)
        scores = score_view(render, truth, matte, view["ssim"])
        rows.append({"image_id": frame.image_id, "yaw": yaw_of(frame.camera_to_world), **scores})
    return rows


def as_text(table: Sequence[dict[str, Any]]) -> str:
    """A table for people."""
    lines = ["yaw        frames   PSNR    SSIM   inside  outside  sharpness"]
    for row in table:
        lines.append(
            f"{row['from']:3g} to {row['to']:3g} {row['frames']:6d}  {row['psnr']:6.2f}  {row['ssim']:.4f}  "
            f"{row['inside']:6.2f}  {row['outside']:7.3f}  {row['sharpness']:.2f}"
        )
    return "\n".join(lines)


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, rendered by render.py on white")
    parser.add_argument("--source", type=Path, help="the data set (default: the run's)")
    parser.add_argument("--edges", type=float, nargs="+", default=YAW_EDGES, help="of |yaw|, degrees")
    options = parser.parse_args()
    config = stored_config(options.run)
    source = options.source or (config.model.source_path if config else None)
    if source is None:
        raise UserError(f"{options.run}: its config names no clip; name it by --source")
    table = by_yaw(score_run(options.run, read_transforms(source)), options.edges)
    print(as_text(table))


def _read(path: Path) -> np.ndarray:
    return cv2.imread(str(path)).astype(np.float64) / 255


def _disc(radius: float) -> np.ndarray:
    size = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def _decibel(squared: float) -> float:
    return float(-10 * np.log10(max(squared, 1e-10)))


def _roughness(picture: np.ndarray, inner: np.ndarray) -> float:
    return float((cv2.Laplacian(picture.mean(axis=2), cv2.CV_64F)[inner] ** 2).mean())


if __name__ == "__main__":
    main()
