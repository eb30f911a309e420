"""Frames of the small head model's mesh, as a training set gives them."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from parametric_head.drawing import draw_mesh, interpolate
from parametric_head.zones import SKULL, zones
from scene.cameras import Camera
from scene.dataset import Frame
from tests.parametric_head.small_head import small_head
from tests.preparation.head_fit.talking_head import make_person
from tests.synthetic import camera_to_world
from training.on_scaffold.fitted_head import FittedHead

SIZE = 192


class Frames(list):
    """What training reads of a FrameDataset."""

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return tuple(frame.camera for frame in self)

    @property
    def expressions(self) -> torch.Tensor:  # [F, E]
        return torch.stack([frame.expression for frame in self])


def make_fitted(names: Sequence[str] | None = None) -> FittedHead:
    """The mean person of the small head, whose clip has coefficients of these names (default: all)."""
    head = small_head()
    person = make_person(np.zeros(len(head.identity)))
    columns = np.array([head.columns.get(name, -1) for name in names or head.names])
    return FittedHead(head, person, person.mesh(head), columns)


def lifted(fitted: FittedHead, centimetres: float) -> np.ndarray:  # [V, 3]
    """The mesh with hair as thick as this all over the skull."""
    thickness = fitted.unit * centimetres * (zones(fitted.head) == SKULL)
    return fitted.mesh.neutral + thickness[:, None] * fitted.normals


def make_frame(
    fitted: FittedHead,
    yaw: float,  # degrees
    points: np.ndarray | None = None,  # [V, 3] (default: the neutral mesh)
    colors: np.ndarray | None = None,  # [V, 3]
    body: tuple[float, float] | None = None,
) -> Frame:
    """A picture on white. body: half the width, and the top, of a red box before the camera, world units."""
    pose = camera_to_world(math.radians(yaw))
    middle = SIZE / 2
    camera = Camera.from_camera_to_world(pose, 3.2 * SIZE, 3.2 * SIZE, middle, middle, SIZE, SIZE)
    points = fitted.mesh.neutral if points is None else points
    seen = points @ camera.world_to_camera[:3, :3].numpy().T + camera.world_to_camera[:3, 3].numpy()
    drawn = draw_mesh(seen, fitted.head.triangles, camera.fx, np.full(2, middle), (SIZE, SIZE))
    matte = drawn.triangle >= 0
    colors = np.full(points.shape, 0.5) if colors is None else colors
    image = np.where(matte[..., None], interpolate(drawn, fitted.head.triangles, colors), 1).astype(
        np.float32
    )
    if body is not None:
        v, u = (np.mgrid[:SIZE, :SIZE] + 0.5 - middle) * 3 / camera.fx  # world units
        is_body = (abs(u) < body[0]) & (v > -body[1]) & ~matte
        image[is_body], matte = (1, 0, 0), matte | is_body
    return Frame(
        index=0,
        image_id=0,
        camera=camera,
        expression=torch.zeros(len(fitted.columns)),
        image=torch.from_numpy(image).permute(2, 0, 1),
        matte=torch.from_numpy(matte.astype(np.float32)),
    )
