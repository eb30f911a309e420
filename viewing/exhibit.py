"""An avatar on show: what a page is told of it, and its pictures."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats
from gaussian_renderer import render
from parametric_head.drawing import draw_mesh
from rendering.baking import ranges_of
from rendering.drawing import with_axes
from scene.avatar import Avatar, are_arkit
from scene.cameras import OPENGL_TO_OPENCV, Camera
from scene.head_model import GaussianHead
from scene.light_head import LightHead
from scene.views import Drive
from utils.images import depth_to_color, jpeg_bytes, to_uint8, with_alpha
from utils.png import png_bytes
from utils.rotations import quaternion_to_matrix
from utils.spherical_harmonics import dc_to_rgb
from viewing.messages import MODES, Look, Moment

JPEG_QUALITY = 92
# An ellipsoid is solid to one standard deviation: opacity times exp(-d^2 / 2) is one up to d = 2.2, at less
# than half the size. More would be a sharper edge, but the kernels' exponents end at -8.
_SOLID_OPACITY, _SOLID_SCALE = 11.0, 0.42
# Of triangles that are seen from behind.
_BEHIND = 0.4
# Of the light that comes from the viewer; the rest is everywhere.
_FRONT_LIGHT = 0.65
_MESH_COLOR = np.array([176, 190, 214], np.float32)


class Exhibit:
    """One avatar and its pictures. Drawing is for one thread."""

    def __init__(self, name: str, avatar: Avatar) -> None:
        self.name = name
        self.replace_(avatar)

    def replace_(self, avatar: Avatar) -> None:
        """Show another state of it."""
        self.avatar = avatar
        names = avatar.expression_names
        size = len(avatar.neutral_expression)
        self.coefficients = tuple(names) if names else tuple(f"coefficient {i}" for i in range(size))
        self._light = unpacked(avatar.head) if isinstance(avatar.head, LightHead) else None
        self._kept: dict[str, tuple[tuple, Splats]] = {}

    def offer_light_(self, head: LightHead) -> None:
        """Draw what is asked for in the light form by this head."""
        self._light = unpacked(head)

    def description(self) -> dict[str, Any]:
        """What a page has to know before it asks for a picture."""
        avatar, low_high = self.avatar, coefficient_ranges(self.avatar)
        camera = avatar.camera
        lens = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
        return {
            "name": self.name,
            "iteration": avatar.iteration,
            "splats": avatar.head.num_splats,
            "coefficients": self.coefficients,
            "neutral": _rounded(avatar.neutral_expression),
            "ranges": [_rounded(row) for row in low_high],
            "arkit": are_arkit(self.coefficients),
            "motion": [] if avatar.motion is None else [_rounded(row) for row in avatar.motion],
            "camera": {"world_to_camera": camera.world_to_camera.flatten().tolist(), **lens},
            "background": avatar.background.tolist(),
            "modes": [mode for mode in MODES if mode != "scaffold" or self._scaffold is not None],
        }

    @torch.no_grad()
    def picture(self, look: Look, moment: Moment) -> np.ndarray:
        """Draw it: 8 bits, [H, W, 3], or [H, W, 4] where the background is transparent."""
        camera = self._on_device(moment)
        if look.mode == "scaffold" and self._scaffold is not None:
            return self._mesh_picture(camera, moment.expression, look.background)
        splats = self._splats(camera, moment, look.form)
        if look.mode == "ellipsoids":
            splats = solid(splats, camera)
        color = look.background if look.background is not None and look.mode != "depth" else (0.0, 0.0, 0.0)
        drawn = render(camera, splats, self.avatar.background.new_tensor(color))
        if look.mode == "depth":
            return depth_to_color(drawn.depth, drawn.alpha)
        if look.mode == "alpha":
            return to_uint8(drawn.alpha.expand(3, -1, -1))
        image = drawn.image
        return to_uint8(with_alpha(image, drawn.alpha) if look.background is None else image)

    @property
    def _scaffold(self):
        return getattr(self.avatar.head, "scaffold", None)

    def _on_device(self, moment: Moment) -> Camera:
        """With the near plane of the clip, of which a page does not know, before a head that is turned."""
        camera, own = moment.camera, self.avatar.camera
        pose = camera.world_to_camera.double()
        if moment.turn is not None:
            pose = pose @ _turn_in_world(own, moment.turn)
        return Camera(
            pose.float().to(own.world_to_camera.device),
            *(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height),
            near=own.near,
        )

    def _expression(self, values: dict[str, float]) -> Tensor:
        """Of the coefficients that it knows; others belong to its neighbour."""
        expression = self.avatar.neutral_expression.cpu().clone()
        for index, name in enumerate(self.coefficients):
            if name in values:
                expression[index] = values[name]
        return expression.to(self.avatar.neutral_expression.device)

    def _splats(self, camera: Camera, moment: Moment, form: str) -> Splats:
        """Kept for the next camera where they do not depend on it: that is two thirds of the work."""
        turn = None if moment.turn is None else tuple(moment.turn.flat)
        key = (tuple(moment.expression.items()), turn)
        if form in self._kept and self._kept[form][0] == key:
            return self._kept[form][1]
        head = self.avatar.head
        if self._light is not None and (form == "light" or isinstance(head, LightHead)):
            head = self._light
        filmed = None
        if moment.turn is not None:
            own = self.avatar.camera.world_to_camera
            filmed = own @ _turn_in_world(self.avatar.camera, moment.turn).to(own)
        splats = head(camera, Drive(self._expression(moment.expression), filmed))
        if isinstance(head, LightHead) or (isinstance(head, GaussianHead) and head.scaffold is not None):
            self._kept[form] = key, splats
        return splats

    def _mesh_picture(
        self, camera: Camera, values: dict[str, float], background: tuple[float, float, float] | None
    ) -> np.ndarray:
        """The mesh under the splats, shaded, with its edges."""
        scaffold = self._scaffold
        triangles = scaffold.triangles.cpu().numpy()
        vertices = scaffold.vertices(self._expression(values))
        pose = camera.world_to_camera
        points = (vertices @ pose[:3, :3].T + pose[:3, 3]).cpu().numpy()
        # One focal length: the other is as good as stretched points.
        points[:, 1] *= camera.fy / camera.fx
        center = np.array([camera.cx, camera.cy])
        drawn = draw_mesh(points, triangles, camera.fx, center, (camera.width, camera.height), camera.near)
        corners = points[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        towards = -normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
        light = ((1 - _FRONT_LIGHT) + _FRONT_LIGHT * np.abs(towards)) * np.where(towards > 0, 1, _BEHIND)
        is_seen = drawn.triangle >= 0
        # Where a corner's weight is small, an edge is near.
        edge = np.clip(drawn.barycentric.min(axis=2) / 0.08, 0.55, 1)
        picture = _MESH_COLOR * (light[drawn.triangle] * edge)[..., None]
        empty = 0.0 if background is None else 255 * np.array(background, np.float32)
        picture = np.where(is_seen[..., None], picture, empty).round().astype(np.uint8)
        if background is None:
            return np.dstack([picture, np.where(is_seen, 255, 0).astype(np.uint8)])
        return picture


def unpacked(head: LightHead) -> LightHead:
    """The same head with its bases as floats, which moves several times as fast and takes four times the
    memory."""
    bases = {name: basis._replace(values=basis.values.float()) for name, basis in head.bases.items()}
    return LightHead(head.neutral, bases, head.neutral_expression, head.ranges, head.torso).eval()


def _turn_in_world(own: Camera, turn: np.ndarray) -> Tensor:  # [3, 3] -> [4, 4] float64
    """What a head does to the world that turns before its clip's camera by a rotation in the camera's axes
    (OpenGL)."""
    pose = own.world_to_camera.double().cpu()
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3] = torch.from_numpy(turn)
    axes = torch.from_numpy(OPENGL_TO_OPENCV)
    moved = axes @ moved @ axes
    moved[:3, :3] = pose[:3, :3].T @ moved[:3, :3] @ pose[:3, :3]
    return moved


def solid(splats: Splats, camera: Camera) -> Splats:
    """Splats as solid ellipsoids in one colour each, lit from where one looks."""
    splats = with_axes(splats)
    towards = torch.nn.functional.normalize(camera.center - splats.means, dim=1)  # [N, 3]
    shortest = splats.scales.argmin(dim=1)
    axes = quaternion_to_matrix(splats.rotations)  # [N, 3, 3]
    normal = axes[torch.arange(len(axes), device=axes.device), :, shortest]
    light = (1 - _FRONT_LIGHT) + _FRONT_LIGHT * (normal * towards).sum(dim=1).abs()
    color = dc_to_rgb(splats.sh[:, 0]).clamp(0, 1) * light[:, None]
    return splats._replace(
        opacities=torch.full_like(splats.opacities, _SOLID_OPACITY),
        scales=splats.scales * _SOLID_SCALE,
        colors=color,
        sh=None,
    )


def coefficient_ranges(avatar: Avatar) -> Tensor:
    """Least and most of each coefficient in the training data, as far as the avatar tells: [2, E]."""
    head = avatar.head
    if isinstance(head, LightHead):
        return head.ranges
    if head.scaffold is not None:
        return ranges_of(avatar)
    if avatar.motion is not None:
        return torch.stack([avatar.motion.amin(dim=0), avatar.motion.amax(dim=0)])
    return avatar.neutral_expression + torch.tensor([[-1.0], [1.0]], device=avatar.neutral_expression.device)


def encoded(picture: np.ndarray, encoding: str) -> bytes:
    """A picture [H, W, 3 or 4] as PNG or JPEG; what is transparent is a PNG in any case."""
    if picture.shape[2] == 3 and encoding != "png":
        return jpeg_bytes(picture, JPEG_QUALITY)
    return png_bytes(picture)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
