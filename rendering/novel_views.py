"""The typical camera of an avatar's clip, where it stands or along a path, while the face plays a motion."""

from pathlib import Path

from torch import Tensor

from arguments import RenderConfig
from rendering.paths import camera_path
from rendering.sets import DrivenViews, held, there_and_back
from scene.avatar import Avatar
from scene.cameras import Camera
from scene.dataset import resolve_size


def own_camera(config: RenderConfig, avatar: Avatar, picture_size: tuple[int, int] | None = None) -> Camera:
    """The avatar's camera at the size that --resolution makes of a clip's pictures, those it learned from
    unless given."""
    size = picture_size or avatar.picture_size or (avatar.camera.width, avatar.camera.height)
    return avatar.camera.scaled(*resolve_size(*size, config.model.resolution))


def along_path(
    config: RenderConfig,
    avatar: Avatar,
    motion: Tensor,  # [F, E]
    background: Tensor,
    picture_size: tuple[int, int] | None = None,
) -> DrivenViews:
    """The camera goes along the path that the options name while the face plays a motion, there and back.

    A path without a length of its own is as long as --num_frames, or as the motion of --driving or --audio.
    Speech is not heard backwards: behind it the face stays as it was. Raises UserError for a file that is no
    path.
    """
    options = config.render
    is_driven = options.driving is not None or options.audio is not None
    plays_driver = is_driven and "num_frames" not in config.given
    cameras = camera_path(
        options.camera_path,
        own_camera(config, avatar, picture_size),
        len(motion) if plays_driver else options.num_frames,
        options.max_yaw,
        lambda width, height: resolve_size(width, height, config.model.resolution),
    )
    lengthened = there_and_back if options.audio is None else held
    return DrivenViews(cameras, lengthened(motion, len(cameras)), background)


def path_suffix(path: str) -> str:
    """What the name of a folder says of a path: `novel_view` for the swing, else with the path's name."""
    return "novel_view" if path == "swing" else f"novel_view_{Path(path).stem}"
