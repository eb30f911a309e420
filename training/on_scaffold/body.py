"""What the head model does not cover: torso, long hair. A mesh over the front of the inflated outline."""

from typing import NamedTuple

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from scene.dataset import Frame
from training.inflation import Balloon, neighbour_links
from training.on_scaffold.seats import Seating, draw_seats

# Head units along, below and above the surface, which is a guess.
LIMITS = (0.06, 0.05, 0.05)
# Cells within which body and neck touch, and over which the body goes back to its own height; how strictly.
_TOUCH, _FADE, _TRUST = 2, 12, 10.0
# A body of fewer cells is the rim of a head.
_SMALLEST = 30
# How many more Gaussians a pixel of the head has than one of the body.
_HEAD_SHARE = 4.0


class Body(NamedTuple):
    """V vertices, T triangles."""

    vertices: np.ndarray  # [V, 3]
    triangles: np.ndarray  # [T, 3]
    color: np.ndarray  # [V, 3] 0 to 1
    # Points that fill it.
    volume: np.ndarray  # [M, 3]
    # Of all Gaussians, how many are its.
    share: float


def find_body(frame: Frame, head_points: np.ndarray, neck_points: np.ndarray) -> Body:
    """The body in a frame whose head has these points [N, 3], and its neck [M, 3].

    Raises ValueError where the matte is empty.
    """
    balloon = Balloon(frame.camera, frame.matte)
    covered = np.zeros(balloon.inside.shape, np.uint8)
    column, row, is_in = _cells(balloon, head_points)
    covered[row[is_in], column[is_in]] = 1
    covered = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    is_body = balloon.inside & ~covered
    count = int(is_body.sum())
    if count and len(neck_points):
        _meet_the_neck(balloon, is_body, neck_points)
    vertices, triangles = balloon.mesh(is_body)
    if count < _SMALLEST or not len(triangles):
        nothing = np.zeros((0, 3))
        return Body(nothing, np.zeros((0, 3), int), nothing, nothing, 0.0)
    image = frame.image.permute(1, 2, 0).cpu().numpy()
    small = cv2.resize(image, balloon.size, interpolation=cv2.INTER_AREA)
    volume = balloon.volume().numpy()
    column, row, is_in = _cells(balloon, volume)
    volume = volume[is_in & is_body[row, column]]
    share = count / (count + _HEAD_SHARE * (balloon.inside & covered).sum())
    return Body(vertices, triangles, small[is_body], volume, float(share))


def seat_on_body(body: Body, count: int, random: np.random.Generator) -> Seating:
    """Draw places on its mesh, evenly."""
    return draw_seats(body.vertices[body.triangles], np.ones(len(body.triangles)), count, random)


def _meet_the_neck(balloon: Balloon, is_body: np.ndarray, neck_points: np.ndarray) -> None:
    """Bring the balloon's height to the neck's where they touch, and less and less farther away.

    A blown-up outline is thickest in its middle, before the throat.
    """
    column, row, is_in = _cells(balloon, neck_points)
    depth = balloon.distance - balloon.camera.project(torch.from_numpy(neck_points))[:, 2].numpy()
    front = np.full(is_body.shape, -np.inf)
    np.maximum.at(front, (row[is_in], column[is_in]), depth[is_in])
    # The frontmost neck around each cell.
    near = cv2.dilate(front, np.ones((2 * _TOUCH + 1, 2 * _TOUCH + 1)), borderValue=-np.inf)
    touches = is_body & np.isfinite(near)
    links = neighbour_links(is_body)
    known = _TRUST * touches[is_body]
    wanted = np.where(touches, near - balloon.height, 0.0)[is_body]
    degree = np.asarray(links.sum(axis=1)).ravel()
    system = scipy.sparse.diags(degree + known + 1 / _FADE**2) - links
    moved = scipy.sparse.linalg.spsolve(system.tocsc(), known * wanted)
    balloon.height[is_body] += moved


def _cells(balloon: Balloon, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and row of points [N, 3] on the balloon's grid, and which are on it: [N] each."""
    camera = balloon.camera
    seen = camera.project(torch.from_numpy(points)).numpy()
    column, row = seen[:, :2].T * np.divide(balloon.size, (camera.width, camera.height))[:, None]
    width, height = balloon.size
    is_in = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return column.clip(0, width - 1).astype(int), row.clip(0, height - 1).astype(int), is_in
