"""The torso's motion for a data set that exists: `torso_transform` added to its transforms.json."""

import json
from pathlib import Path

import numpy as np

from preparation.clothes import follow_clothes
from preparation.dataset_files import DIGITS, Layout, poses_from
from preparation.head_pose import Camera
from preparation.torso import TorsoMotion
from scene.dataset_readers import read_clip
from utils.errors import UserError
from utils.json_files import write_json


def add_torso(root: Path, overwrite: bool = False, quiet: bool = False) -> TorsoMotion:
    """Measure and write it. Raises UserError where it is there already, or the clothes cannot be followed."""
    clip, layout = read_clip(root), Layout(root)
    document = json.loads(layout.transforms.read_text(encoding="utf-8"))
    if any("torso_transform" in entry for entry in document["frames"]) and not overwrite:
        raise UserError(f"{layout.transforms}: has torso_transform already; replace it by --overwrite")
    motion = follow_clothes(
        [frame.image_path for frame in clip.frames],
        [frame.mask_path for frame in clip.frames],
        [layout.parsing(frame.image_id) for frame in clip.frames],
        poses_from(np.stack([frame.camera_to_world for frame in clip.frames])),
        Camera((clip.fx * clip.fy) ** 0.5, np.array([clip.cx, clip.cy])),
        quiet,
    )
    if motion is None:
        raise UserError(f"{root}: the clothes show too few corners to follow; nothing was written")
    ids = (frame.image_id for frame in clip.frames)
    by_id = dict(zip(ids, np.round(motion.transforms, DIGITS).tolist(), strict=True))
    for entry in document["frames"]:
        entry["torso_transform"] = by_id[entry["img_id"]]
    write_json(layout.transforms, document, indent=None, allow_nan=False)
    return motion
