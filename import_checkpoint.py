"""Make an avatar of a checkpoint that the published GaussianHead code wrote.

    python import_checkpoint.py output/published -s data/id1 -m output/id1

render.py, viewer.py and export.py take it like one of our own; training cannot go on from it. Nothing in the
checkpoint is run. What is imported, and which quirks come along: docs/published.md.
"""

import sys

from arguments.importing import ImportParams, parse_import_args
from utils.errors import UserError, exit_on_user_error
from utils.startup import prepare_environment

# Of its clip the published code scores the last frames, and shrinks frames that are wider.
NUM_TESTED, WIDEST = 50, 1_600
# Largest difference of two numbers of one pose, world units.
SAME_POSE = 1e-3


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    params = parse_import_args(argv)
    prepare_environment()
    from scene.published_checkpoint import WARM_UP, iterations_in, read_arguments, read_head

    iterations = iterations_in(params.checkpoint)
    iteration = iterations[-1] if params.iteration == -1 else params.iteration
    if iteration not in iterations:
        raise UserError(f"--iteration {iteration}: saved are {', '.join(map(str, iterations))}")
    head = read_head(params.checkpoint, iteration)
    write(params, head, iteration, read_arguments(params.checkpoint))
    if params.quiet:
        return
    if not head.deforms:
        print(
            f"iteration {iteration} is within the warm-up of the published code ({WARM_UP}): its "
            "deformation was never trained, so the avatar does not move",
            file=sys.stderr,
        )
    size = head.expression_size
    print(f"{params.model_path}: iteration {iteration}, {head.num_splats:,} Gaussians, {size} coefficients")
    print(f"next: python render.py -m {params.model_path}, or viewer.py")


def write(params: ImportParams, head, iteration: int, arguments) -> None:
    """Write the model and a config by which render.py finds the clip. Raises UserError."""
    import numpy as np
    import torch

    from arguments import ModelParams, TrainConfig, save_config
    from scene.avatar import (
        MODEL_FOLDER,
        MOTION_FRAMES,
        Avatar,
        neutral_expression,
        save_avatar,
        typical_camera,
    )
    from scene.dataset import resolve_size
    from scene.dataset_readers import read_transforms, split_clip
    from scene.published_checkpoint import read_poses
    from utils.checkpoint import iteration_path

    source = params.source_path or arguments.source_path
    if source is None or not source.is_dir():
        found = "its cfg_args names none" if source is None else f"{source}: no such folder"
        raise UserError(f"-s/--source_path: expected the clip that it was trained on; {found}")
    model = iteration_path(params.model_path / MODEL_FOLDER, iteration)
    config_file = params.model_path / "config.json"
    if (model.exists() or config_file.exists()) and not params.overwrite:
        raise UserError(
            f"-m/--model_path {params.model_path}: holds an avatar already; --overwrite replaces it"
        )
    clip = read_transforms(source, params.only_head)
    if len(clip.frames[0].expression) != head.expression_size:
        raise UserError(
            f"{source}: {len(clip.frames[0].expression)} expression coefficients, the checkpoint was trained "
            f"with {head.expression_size}: another clip?"
        )
    num_val = check_cameras(clip, read_poses(params.checkpoint))
    num_test = min(NUM_TESTED, len(clip.frames) - 1) if arguments.eval else 0
    split = split_clip(len(clip.frames), arguments.eval, num_test or None, num_val if arguments.eval else 0)
    # Wider frames are shrunk there.
    resolution = WIDEST if arguments.resolution == -1 and clip.width > WIDEST else arguments.resolution
    width, height = resolve_size(clip.width, clip.height, resolution)
    cameras = [head.lens(clip.camera(clip.frames[i]).scaled(width, height)) for i in split.train]
    expressions = np.stack([clip.frames[i].expression for i in split.train])
    played = np.stack([clip.frames[i].expression for i in split.test or split.train])
    avatar = Avatar(
        head,
        # No name in the checkpoint says which face is at rest.
        neutral_expression(expressions, None),
        clip.expression_names,
        typical_camera(cameras),
        torch.full((3,), float(arguments.white_background)),
        iteration,
        motion=torch.from_numpy(played[:MOTION_FRAMES].copy()),
        picture_size=(clip.width, clip.height),
        clip_digest=clip.digest,
    )
    config = TrainConfig(
        model=ModelParams(
            source_path=source.resolve(),
            model_path=params.model_path,
            resolution=resolution,
            white_background=arguments.white_background,
            eval=arguments.eval,
            test_frames=num_test or None,
            val_frames=num_val if arguments.eval else 0,
            only_head=params.only_head,
        )
    )
    save_avatar(avatar, model)
    save_config(config, config_file)


def check_cameras(clip, poses) -> int:
    """The number of frames that were neither trained on nor scored, by the poses of cameras.json [4, 4] of
    each frame. Raises UserError where the clip has other cameras: it is another, or was tracked anew."""
    import numpy as np
    import torch

    from scene.cameras import OPENGL_TO_OPENCV

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


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
