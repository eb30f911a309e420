"""A first guess of the head's shape from one matte: its outline, blown up like a balloon.

A talking head turns by a few degrees only, so that its clip says little about depth: Gaussians that start
anywhere in the visual hull fit every frame and fall apart seen from a side. On an inflated outline they start
near the depths that they should have, and the clip corrects the rest. The height is the root of the solution
of Poisson's equation in the outline, which makes a ball of a disc.
"""

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from scene.cameras import Camera

# Cells across the longer side of the image.
GRID = 128
# World units before the origin. A torso that leaves the image would grow without an end.
MAX_DEPTH = 0.35
# Largest density of points on a slanted surface, over that on one that faces the camera.
MAX_SLANT = 4.0
# Share of the points that lie behind the surface, for what a mouth and lids uncover.
INNER_SHARE = 0.15
# Noise of their depth, world units.
JITTER = 0.02
# Number of points through the depth of the balloon.
LAYERS = 25


class Balloon:
    """The outline that `camera` sees, blown up: a height on each cell of a grid over the image.

    Raises ValueError where the matte [H, W] is empty.
    """

    def __init__(self, camera: Camera, matte: Tensor) -> None:
        scale = GRID / max(matte.shape)
        self.size = max(1, round(matte.shape[1] * scale)), max(1, round(matte.shape[0] * scale))
        small = cv2.resize(matte.cpu().numpy().astype(np.float32), self.size, interpolation=cv2.INTER_AREA)
        self.inside = small > 0.5  # [h, w]
        if not self.inside.any():
            raise ValueError("inflated outline: no pixel of the matte is on the person")
        self.camera = camera
        self.pose = camera.world_to_camera.cpu().double()
        self.distance = float((-self.pose[:3, :3].T @ self.pose[:3, 3]).norm())
        self.cell = self.distance / camera.fx * camera.width / self.size[0]  # world units
        self.height = np.minimum(self.cell * inflated_height(self.inside), MAX_DEPTH)  # [h, w] world units

    def to_world(self, columns: Tensor, rows: Tensor, depth: Tensor) -> Tensor:
        """Points [N, 3] float64 at places on the grid [N], so far before the plane of the origin [N]."""
        u, v = columns * self.camera.width / self.size[0], rows * self.camera.height / self.size[1]
        z = self.distance - depth
        x = (u - self.camera.cx) / self.camera.fx * z
        y = (v - self.camera.cy) / self.camera.fy * z
        return (torch.stack([x, y, z], dim=1) - self.pose[:3, 3]) @ self.pose[:3, :3]

    def surface(self, num_points: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw points [num_points, 3] float64 from the front, evenly; INNER_SHARE of them lie behind it."""
        slopes = np.hypot(*np.gradient(self.height, self.cell))
        weight = np.where(self.inside, np.sqrt(1 + np.minimum(slopes, MAX_SLANT) ** 2), 0).ravel()
        chosen = torch.multinomial(
            torch.from_numpy(weight), num_points, replacement=True, generator=generator
        )
        rows, columns = np.divmod(chosen.numpy(), self.size[0])
        random = torch.rand(num_points, 3, generator=generator, dtype=torch.float64)
        depth = torch.from_numpy(self.height[rows, columns])
        is_inner = random[:, 2] < INNER_SHARE
        depth = torch.where(is_inner, depth * (2 * random[:, 2] / INNER_SHARE - 1), depth)
        depth = depth + JITTER * torch.randn(num_points, generator=generator, dtype=torch.float64)
        rows, columns = torch.from_numpy(rows), torch.from_numpy(columns)
        return self.to_world(columns + random[:, 0], rows + random[:, 1], depth)

    def mesh(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The front as a mesh over the middles of the cells `wanted` [h, w]: vertices [V, 3], and triangles
        [T, 3] whose normals look at the camera."""
        rows, columns = np.nonzero(wanted)
        number = np.full(wanted.shape, -1)
        number[rows, columns] = np.arange(len(rows))
        depth = torch.from_numpy(self.height[rows, columns])
        vertices = self.to_world(torch.from_numpy(columns + 0.5), torch.from_numpy(rows + 0.5), depth)
        upper, lower = number[:-1], number[1:]
        corners = upper[:, :-1], lower[:, :-1], lower[:, 1:], upper[:, 1:]
        first, second = np.stack(corners[:3], axis=-1), np.stack([corners[i] for i in (0, 2, 3)], axis=-1)
        triangles = np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)])
        return vertices.numpy(), triangles[(triangles >= 0).all(axis=1)]

    def volume(self) -> Tensor:
        """Points [N, 3] float64 that fill it, back half and all, a cell apart across and LAYERS deep."""
        rows, columns = np.nonzero(self.inside)
        share = torch.linspace(-1, 1, LAYERS, dtype=torch.float64)
        depth = torch.from_numpy(self.height[rows, columns])[:, None] * share  # [N, LAYERS]
        rows, columns = (torch.from_numpy(i)[:, None].expand_as(depth) + 0.5 for i in (rows, columns))
        return self.to_world(columns.flatten(), rows.flatten(), depth.flatten())


def points_on_surface(
    camera: Camera,
    matte: Tensor,  # [H, W], in [0, 1]
    half_side: float,
    num_points: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw points [num_points, 3] from the front of the inflated outline that `camera` sees, evenly.

    They stay in the cube [-half_side, half_side]^3. Raises ValueError where the matte is empty.
    """
    points = Balloon(camera, matte).surface(num_points, generator)
    return points.clamp(-half_side, half_side).float()


def inflated_height(inside: np.ndarray) -> np.ndarray:
    """The height [h, w], in cells, over an outline bool [h, w]; where the image cuts it, it is not closed.

    u with Laplace u = -4 inside and u = 0 outside is R^2 - r^2 in a disc; its root is the height of a ball.
    """
    links = neighbour_links(inside)
    # A cell beyond the outline counts as one of height 0, one beyond the picture does not.
    beside = np.pad(np.ones(inside.shape), 1)
    num_neighbours = beside[:-2, 1:-1] + beside[2:, 1:-1] + beside[1:-1, :-2] + beside[1:-1, 2:]
    num_neighbours = num_neighbours[inside]
    laplacian = scipy.sparse.diags(num_neighbours + 1e-6) - links
    num = len(num_neighbours)
    height = np.zeros(inside.shape)
    height[inside] = np.sqrt(np.maximum(scipy.sparse.linalg.spsolve(laplacian.tocsc(), np.full(num, 4.0)), 0))
    return height


def neighbour_links(inside: np.ndarray) -> scipy.sparse.csr_matrix:
    """Which of the cells inside [h, w], numbered by rows, lie side by side: a symmetric matrix of ones."""
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    across = (number[:, :-1], number[:, 1:]), (number[:-1], number[1:])
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in across], axis=1)
    first, second = pairs[:, (pairs >= 0).all(axis=0)]
    size = int(inside.sum())
    links = scipy.sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(size, size))
    return (links + links.T).tocsr()
