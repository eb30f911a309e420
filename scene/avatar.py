"""A trained head with what one needs to use it: names of its expression coefficients, a neutral face, a
camera, a background.

avatar = load_avatar("output/id1")
drive = Drive(avatar.expression(jawOpen=0.6))
splats = avatar.head(avatar.camera, drive)
image = render(avatar.camera, splats, avatar.background).image   # [3, H, W]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene.avatar_checks import checked_architecture, checked_camera
from scene.cameras import Camera
from scene.head_model import GaussianHead
from scene.light_file import MARKER, pack_light_head, unpack_light_head
from scene.light_head import LightHead
from scene.published_head import PublishedHead
from scene.scaffold_file import pack_scaffold, unpack_scaffold
from utils.checkpoint import find_iteration, iteration_path, list_iterations, load_checkpoint, save_checkpoint
from utils.errors import UserError

# What is raised where the parts of a file do not fit together.
UNFIT = (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError, OverflowError)
MODEL_FOLDER, LIGHT_FOLDER = "model", "light"
MOTION = "clip.motion"
# Of the clip that stay with the avatar as a motion to play, 20 KB a hundred.
MOTION_FRAMES = 1_000
# In the metadata of a head of the published code.
PUBLISHED = "published_head"
# Most of the file; loaded as float32 again.
SAVED_AS_HALF = {"gaussians.blendshapes", "triplane.planes"}
# What is small against the scaffold that it sits on.
HALF_ON_SCAFFOLD = {
    f"gaussians.{name}" for name in ("log_scale", "rotation", "tau", "color", "barycentric", "torso_logit")
}


@dataclass(frozen=True)
class Avatar:
    """What `model/iteration_N.safetensors` holds, or, in its light form, `light/iteration_N.safetensors`."""

    head: GaussianHead | LightHead | PublishedHead
    neutral_expression: Tensor  # [E]
    expression_names: tuple[str, ...] | None
    camera: Camera  # a typical camera of the training clip
    background: Tensor  # [3], what it was trained on
    iteration: int
    # Of the clip that it learned from, so that it can move without the footage: expressions of a stretch of
    # frames [F, E], the size of the pictures, and what tells that clip from others.
    motion: Tensor | None = None
    picture_size: tuple[int, int] | None = None
    clip_digest: str | None = None

    def expression(self, **coefficients: float) -> Tensor:
        """The neutral expression with some named coefficients set: [E]. Raises UserError for an unknown
        name."""
        names = self.expression_names or ()
        expression = self.neutral_expression.clone()
        for name, value in coefficients.items():
            if name not in names:
                known = ", ".join(names) if names else "none: this avatar's coefficients have no names"
                raise UserError(f"expression {name!r} is unknown; known are {known}")
            expression[names.index(name)] = value
        return expression

    def to(self, device: torch.device | str) -> "Avatar":
        """The avatar on another device; the head moves, it is not copied."""
        return replace(
            self,
            head=self.head.to(device),
            neutral_expression=self.neutral_expression.to(device),
            camera=self.camera.to(device),
            background=self.background.to(device),
            motion=None if self.motion is None else self.motion.to(device),
        )


def save_avatar(avatar: Avatar, path: Path) -> None:
    """Write the weights and all that `load_avatar` needs to one file, atomically."""
    camera = avatar.camera
    tensors, description = _packed(avatar.head)
    metadata = {
        **description,
        "iteration": avatar.iteration,
        "neutral_expression": avatar.neutral_expression.tolist(),
        "expression_names": avatar.expression_names,
        "background": avatar.background.tolist(),
        "picture_size": avatar.picture_size,
        "clip_digest": avatar.clip_digest,
        "camera": {
            "world_to_camera": camera.world_to_camera.tolist(),
            **{name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height", "near")},
        },
    }
    if avatar.motion is not None:
        tensors[MOTION] = avatar.motion
    save_checkpoint(path, tensors, metadata)


def _packed(head: GaussianHead | LightHead | PublishedHead) -> tuple[dict[str, Tensor], dict]:
    """A head as tensors and metadata, which `_head_of` makes it of again."""
    if isinstance(head, LightHead):
        return pack_light_head(head), {MARKER: True}
    if isinstance(head, PublishedHead):
        return head.tensors(), {PUBLISHED: {"deforms": head.deforms}}
    return _tensors_of(head), {"head": head.metadata()}


def _tensors_of(head: GaussianHead) -> dict[str, Tensor]:
    halves = SAVED_AS_HALF | (HALF_ON_SCAFFOLD if head.scaffold is not None else set())
    return {
        name: value.half() if name in halves and value.is_floating_point() else value
        for name, value in pack_scaffold(head.state_dict()).items()
    }


def load_avatar(
    model_path: Path | str, iteration: int | None = None, device: torch.device | str = "cpu"
) -> Avatar:
    """Load a trained avatar from its folder (`output/id1`, the latest iteration unless one is named) or its
    file, in its light form too (`output/id1/light/iteration_N.safetensors`).

    Raises UserError when there is none or the file is damaged.
    """
    path = Path(model_path)
    if path.suffix != ".safetensors":
        path = find_iteration(path / MODEL_FOLDER, iteration)
    tensors, metadata = load_checkpoint(path)
    motion = tensors.pop(MOTION, None)
    try:
        camera = checked_camera(dict(metadata["camera"]))
        names = metadata["expression_names"]
        avatar = Avatar(
            head=_head_of(tensors, metadata).requires_grad_(False),
            neutral_expression=torch.tensor(metadata["neutral_expression"]),
            expression_names=tuple(names) if names else None,
            camera=camera,
            background=torch.tensor(metadata["background"]),
            iteration=metadata["iteration"],
            motion=motion,
            picture_size=tuple(metadata["picture_size"]) if metadata.get("picture_size") else None,
            clip_digest=metadata.get("clip_digest"),
        )
        _check_numbers(avatar)
    except UNFIT as error:
        raise UserError(f"{path}: not a model for use, or of another version ({error})") from error
    return avatar.to(device)


def load_light_avatar(
    model_path: Path | str, iteration: int | None = None, device: torch.device | str = "cpu"
) -> Avatar:
    """Load the light form that export.py left in an avatar's folder. Raises UserError where there is none."""
    folder = Path(model_path) / LIGHT_FOLDER
    if not list_iterations(folder):
        raise UserError(f"{folder}: no light form yet; make it by python export.py -m {model_path}")
    return load_avatar(find_iteration(folder, iteration), device=device)


def light_path(model_path: Path, iteration: int) -> Path:
    """Where the light form of an avatar lies: in the run's folder, or beside a file."""
    if model_path.suffix == ".safetensors":
        return model_path.with_name(f"{model_path.stem}_light.safetensors")
    return iteration_path(model_path / LIGHT_FOLDER, iteration)


def _head_of(tensors: dict[str, Tensor], metadata: dict) -> GaussianHead | LightHead | PublishedHead:
    if MARKER in metadata:
        return unpack_light_head(tensors)
    if PUBLISHED in metadata:
        return PublishedHead(tensors, bool(metadata[PUBLISHED]["deforms"]))
    tensors = unpack_scaffold(tensors)
    checked_architecture(metadata["head"], tensors)
    return GaussianHead.from_state(tensors, metadata["head"])


def _check_numbers(avatar: Avatar) -> None:
    """Raise ValueError where what drives an avatar does not fit it."""
    num, head = len(avatar.neutral_expression), avatar.head
    size = head.expression_size
    if avatar.neutral_expression.shape != (size,) or not avatar.neutral_expression.isfinite().all():
        raise ValueError(f"neutral_expression: expected {size} finite numbers")
    if avatar.expression_names is not None and len(avatar.expression_names) != num:
        raise ValueError(f"expression_names: expected {num}, found {len(avatar.expression_names)}")
    if avatar.background.shape != (3,) or not avatar.background.isfinite().all():
        raise ValueError("background: expected 3 finite numbers")
    if avatar.motion is not None and (avatar.motion.dim() != 2 or avatar.motion.shape[1] != num):
        raise ValueError(f"{MOTION}: expected rows of {num} numbers")
    broken = [name for name, value in head.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{broken[0]}: not finite")


def neutral_expression(expressions: np.ndarray, names: Sequence[str] | None) -> Tensor:
    """The face at rest: zero for named ARKit coefficients, else the row of `expressions` [F, E] nearest the
    median."""
    if names is not None and are_arkit(names):
        return torch.zeros(expressions.shape[1])
    distance = np.linalg.norm(expressions - np.median(expressions, axis=0), axis=1)
    return torch.from_numpy(expressions[distance.argmin()].astype(np.float32))


def are_arkit(names: Sequence[str]) -> bool:
    """Whether coefficients are ARKit's: 0 at rest, 1 at most."""
    return {"jawOpen", "eyeBlinkLeft", "mouthSmileLeft"} <= set(names)


def typical_camera(cameras: Sequence[Camera]) -> Camera:
    """The camera whose pose is nearest the median pose: no average, which no frame may have had."""
    poses = torch.stack([camera.world_to_camera for camera in cameras])[:, :3]  # [F, 3, 4]
    distance = (poses - poses.median(dim=0).values).flatten(1).norm(dim=1)
    return cameras[int(distance.argmin())]
