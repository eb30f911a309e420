"""Makes an avatar of ours of a checkpoint of the published code and the clip that it was trained on.

Of the clip come what the checkpoint lacks: cameras, names of coefficients, the face at rest, and which frames
were held out. docs/published.md says what comes along.
"""

import numpy as np
import torch
from torch import Tensor

from arguments import ModelParams
from arguments.importing import ImportParams
from arguments.validation import check_ranges
from scene.avatar import MOTION_FRAMES, Avatar, neutral_expression, typical_camera
from scene.cameras import OPENGL_TO_OPENCV
from scene.dataset import resolve_size
from scene.dataset_readers import Clip, read_transforms, split_clip
from scene.published_checkpoint import CheckpointArguments, read_arguments, read_poses
from scene.published_head import PublishedHead
from utils.errors import UserError

# Of its clip the published code scores the last frames, and shrinks frames that are wider.
NUM_TESTED, WIDEST = 50, 1_600
# Largest difference of two numbers of one pose, world units.
SAME_POSE = 1e-3


def import_avatar(params: ImportParams, head: PublishedHead, iteration: int) -> tuple[Avatar, ModelParams]:
    """The avatar, and the options by which render.py finds its clip. Raises UserError, writes nothing."""
    arguments = read_arguments(params.checkpoint)
    source = params.source_path or arguments.source_path
    if source is None or not source.is_dir():
        found = "its cfg_args names none" if source is None else f"{source}: no such folder"
        raise UserError(f"-s/--source_path: expected the clip that it was trained on; {found}")
    clip = read_transforms(source, params.only_head)
    if (length := len(clip.frames[0].expression)) != head.expression_size:
        raise UserError(
            f"{source}: {length} expression coefficients, the checkpoint was trained with "
            f"{head.expression_size}: another clip?"
        )
    num_val = check_cameras(clip, read_poses(params.checkpoint))
    options = _options(params, arguments, clip, num_val)
    return _avatar(head, iteration, clip, options), options


def check_cameras(clip: Clip, poses: dict[int, Tensor]) -> int:
    """The number of frames that were neither trained on nor scored, by the poses of cameras.json [4, 4] of
    each frame. Raises UserError where the clip has other cameras: it is another, or was tracked anew."""
    own = {frame.image_id: np.asarray(frame.camera_to_world) @ OPENGL_TO_OPENCV for frame in clip.frames}
    for number, pose in poses.items():
        if number not in own:
            raise UserError(f"{clip.root}: lacks frame {number}, which the checkpoint's cameras.json has")
        if (torch.from_numpy(own[number]).float() - pose).abs().max() > SAME_POSE:
            raise UserError(
                f"{clip.root}: frame {number} has another camera than in the checkpoint's cameras.json: "
                "another clip, or one that was tracked anew"
            )
    return max(0, min(len(own) - len(poses), len(own) - NUM_TESTED - 1)) if poses else 0


def _options(params: ImportParams, arguments: CheckpointArguments, clip: Clip, num_val: int) -> ModelParams:
    num_test = min(NUM_TESTED, len(clip.frames) - 1) if arguments.eval else 0
    # Wider frames are shrunk there.
    is_wide = arguments.resolution == -1 and clip.width > WIDEST
    options = ModelParams(
        source_path=clip.root.resolve(),
        model_path=params.model_path,
        resolution=WIDEST if is_wide else arguments.resolution,
        white_background=arguments.white_background,
        eval=num_test > 0,
        test_frames=num_test or None,
        val_frames=num_val if num_test else 0,
        only_head=params.only_head,
    )
    check_ranges(options, f"{params.checkpoint / 'cfg_args'}: ")
    return options


def _avatar(head: PublishedHead, iteration: int, clip: Clip, options: ModelParams) -> Avatar:
    split = split_clip(len(clip.frames), options.eval, options.test_frames, options.val_frames)
    size = resolve_size(clip.width, clip.height, options.resolution)
    cameras = [head.lens(clip.camera(clip.frames[i]).scaled(*size)) for i in split.train]
    expressions = np.stack([clip.frames[i].expression for i in split.train])
    played = np.stack([clip.frames[i].expression for i in split.test or split.train])
    return Avatar(
        head,
        # No name in the checkpoint says which face is at rest.
        neutral_expression(expressions, None),
        clip.expression_names,
        typical_camera(cameras),
        torch.full((3,), float(options.white_background)),
        iteration,
        motion=torch.from_numpy(played[:MOTION_FRAMES].copy()),
        picture_size=(clip.width, clip.height),
        clip_digest=clip.digest,
    )
