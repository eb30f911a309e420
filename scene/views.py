"""What drives a head, and a view of it: what is drawn, and what it should look like."""

from typing import NamedTuple

from torch import Tensor

from scene.cameras import Camera


class Drive(NamedTuple):
    """What moves a head. Everything but the expression may be unknown."""

    expression: Tensor  # [E]
    # [3 or 4, 4] world-to-camera pose in which the head was *filmed*: with `pose_conditioning` or
    # `torso_membership` the torso follows it, wherever one looks from. None is the mean pose of the clip.
    head_pose: Tensor | None = None
    # [4, 4] the torso's own motion (scene/torso.py). None is what the head pose predicts, or rest.
    torso: Tensor | None = None
    # [D] added to the driving signal, in training.
    noise: Tensor | None = None


class SideView(NamedTuple):
    """Another camera on the same head, without a picture: it knows where nobody can be."""

    pose: Tensor  # [4, 4] world-to-camera
    outside: Tensor  # bool [H, W]


class HeadView(NamedTuple):
    """A head as one camera sees it."""

    camera: Camera
    drive: Drive
    background: Tensor  # [3]
    truth: Tensor | None = None  # [3, H, W] on the background
    image_id: int | None = None
    side: SideView | None = None
    # Shown to the left of the drawing in the film, at its height, and not scored: who drives the head.
    companion: Tensor | None = None  # [3, H, any]
