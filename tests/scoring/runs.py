"""The folder of a run as train.py and render.py leave it, made of pictures that a test chooses.

run = write_run(tmp_path / "out", write_clip(tmp_path / "clip"), lambda truth, i: truth)
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from arguments import ModelParams, TrainConfig, save_config
from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip
from utils.images import write_png


def write_run(
    run: Path,
    source: Path,
    render: Callable[[Tensor, int], Tensor],
    image_ids: tuple[int, ...] = (9, 10, 11),
    name: str = "test",
    iteration: int = 7,
    only_head: bool = False,
) -> Path:
    """Write config.json and one rendered set; call it again for another set of the same run.

    `render` makes a render of a truth [3, H, W] and an img_id.
    """
    model = replace(ModelParams(), source_path=source, model_path=run, only_head=only_head)
    save_config(TrainConfig(model=model), run / "config.json")
    clip = read_clip(source, only_head)
    position = {frame.image_id: i for i, frame in enumerate(clip.frames)}
    frames = FrameDataset(clip, [position[i] for i in image_ids], only_head=only_head)
    folder = run / name / f"ours_{iteration}"
    for index in range(len(frames)):
        truth = frames[index].image
        write_png(folder / "gt" / f"{index:05d}.png", truth)
        write_png(folder / "renders" / f"{index:05d}.png", render(truth, image_ids[index]))
    views = [{"index": k, "image_id": i, "psnr": 20.0} for k, i in enumerate(image_ids)]
    metrics = {"split": name, "iteration": iteration, "mean": {"psnr": 20.0}, "per_view": views}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return run


def shifted(truth: Tensor, image_id: int) -> Tensor:
    """The truth, brighter by a fifth and an amount that depends on the frame."""
    return truth + 0.2 + 0.05 * (image_id % 2)


def noisy(truth: Tensor, image_id: int) -> Tensor:
    """The truth under noise that grows with the frame."""
    noise = np.random.default_rng(image_id).normal(0, 0.01 * image_id, truth.shape)
    return truth + truth.new_tensor(noise)
