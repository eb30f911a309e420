import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scene.scaffold import STRETCH, Places, Scaffold, triangle_frames
from tests.scene.heads import EXPRESSION_SIZE, make_scaffold
from utils.rotations import quaternion_to_matrix

BALL = slice(25, 31)  # of make_scaffold's vertices


def double_scaffold(**changes) -> Scaffold:
    """In float64; `changes` are fields of its ScaffoldMesh."""
    state = make_scaffold(torch.Generator().manual_seed(0)).double().state_dict()
    return Scaffold.of_state(state | changes)


def draw_places(scaffold, count=50) -> Places:
    generator = torch.Generator().manual_seed(1)
    triangle = torch.randint(len(scaffold.triangles), (count,), generator=generator)
    weights = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    return Places(triangle, weights / weights.sum(dim=1, keepdim=True))


def draw_gaussians(scaffold, places):
    """Means near their places, raw quaternions, log-scales."""
    generator = torch.Generator().manual_seed(2)
    corners = scaffold.neutral[scaffold.triangles[places.triangle]]
    xyz = (places.barycentric[..., None] * corners).sum(dim=1)
    noise = torch.randn(len(xyz), 10, generator=generator, dtype=torch.float64)
    return xyz + 0.1 * noise[:, :3], noise[:, 3:7], noise[:, 7:] - 3


def covariances(rotation, log_scale):
    axes = quaternion_to_matrix(rotation) * log_scale.exp()[:, None]
    return axes @ axes.transpose(1, 2)


def only(coefficient, value=1.0):
    expression = torch.zeros(EXPRESSION_SIZE, dtype=torch.float64)
    expression[coefficient] = value
    return expression


def whole_scaffold(motion) -> Scaffold:
    """Without balls; the third shape takes the whole mesh along `motion`."""
    scaffold = double_scaffold()
    shapes = torch.zeros_like(scaffold.shapes)
    shapes[2] = motion(scaffold.neutral) - scaffold.neutral
    balls = {name: getattr(scaffold, name)[:0] for name in ("ball_ranges", "ball_centers", "ball_turns")}
    return double_scaffold(shapes=shapes, **balls)


def test_on_the_neutral_face_nothing_moves():
    scaffold = double_scaffold()
    places = draw_places(scaffold)
    before = draw_gaussians(scaffold, places)
    at_rest = torch.zeros(EXPRESSION_SIZE, dtype=torch.float64)
    torch.testing.assert_close(scaffold.vertices(at_rest), scaffold.neutral)
    for found, expected in zip(scaffold.motion(places, at_rest).carry(*before), before, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_rigid_motion_of_the_mesh_is_that_of_its_gaussians():
    turn = torch.from_numpy(Rotation.from_rotvec([0.5, -0.8, 0.3]).as_matrix())
    shift = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    scaffold = whole_scaffold(lambda x: x @ turn.T + shift)
    places = draw_places(scaffold)
    xyz, rotation, log_scale = draw_gaussians(scaffold, places)
    moved = scaffold.motion(places, only(2)).carry(xyz, rotation, log_scale)
    torch.testing.assert_close(moved[0], xyz @ turn.T + shift)
    torch.testing.assert_close(covariances(*moved[1:]), turn @ covariances(rotation, log_scale) @ turn.T)


@pytest.mark.parametrize(("growth", "expected"), [(1.3, 1.3), (0.7, 0.7), (2.6, STRETCH), (0.3, 1 / STRETCH)])
def test_gaussians_grow_with_the_mesh_up_to_a_limit(growth, expected):
    scaffold = whole_scaffold(lambda x: growth * x)
    places = draw_places(scaffold)
    xyz, rotation, log_scale = draw_gaussians(scaffold, places)
    moved = scaffold.motion(places, only(2)).carry(xyz, rotation, log_scale)
    torch.testing.assert_close(moved[2], log_scale + math.log(expected))
    torch.testing.assert_close(covariances(moved[1], log_scale), covariances(rotation, log_scale))


def test_a_shape_counts_by_its_coefficient():
    scaffold = double_scaffold()
    expression = torch.tensor([0.2, -0.4, 0.0, 1.5, 0.7], dtype=torch.float64)
    expected = scaffold.neutral.numpy() + sum(
        c * shape for c, shape in zip(expression.numpy(), scaffold.shapes.numpy(), strict=True)
    )
    found = scaffold.vertices(expression).numpy()
    np.testing.assert_allclose(found[:25], expected[:25])


def test_balls_turn_about_their_centre():
    scaffold = double_scaffold()
    expression = torch.tensor([0.9, -1.4, 0.3, 1.5, -0.7], dtype=torch.float64)
    turn = Rotation.from_rotvec((scaffold.ball_turns[0] @ expression).numpy())
    assert turn.magnitude() > 0.5
    centre = scaffold.ball_centers[0].numpy()
    expected = turn.apply(scaffold.neutral[BALL].numpy() - centre) + centre
    np.testing.assert_allclose(scaffold.vertices(expression)[BALL].numpy(), expected, atol=1e-12)
    # What sits on one turns with it.
    places = draw_places(scaffold)._replace(triangle=torch.full((50,), len(scaffold.triangles) - 1))
    xyz, rotation, log_scale = draw_gaussians(scaffold, places)
    moved = scaffold.motion(places, expression).carry(xyz, rotation, log_scale)
    np.testing.assert_allclose(moved[0].numpy(), turn.apply(xyz.numpy() - centre) + centre, atol=1e-9)


def test_confined_brings_back_what_left_its_place_and_nothing_else():
    scaffold = double_scaffold()
    places = draw_places(scaffold, 400)
    xyz, _, _ = draw_gaussians(scaffold, places)
    corners = scaffold.neutral[scaffold.triangles[places.triangle]].numpy()
    origin = np.einsum("nk,nkc->nc", places.barycentric.numpy(), corners)
    xyz = torch.from_numpy(origin) + 0.4 * (xyz - torch.from_numpy(origin))
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # Gram-Schmidt: along the first edge, across in the triangle's plane, up.
    along = first / np.linalg.norm(first, axis=1, keepdims=True)
    across = second - (second * along).sum(axis=1, keepdims=True) * along
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(along, across)

    def local(points):
        return np.stack([((points - origin) * axis).sum(axis=1) for axis in (along, across, up)], axis=1)

    limits = scaffold.limits[places.triangle].numpy()
    lower = np.stack([-limits[:, 0], -limits[:, 0], -limits[:, 1]], axis=1)
    upper = np.stack([limits[:, 0], limits[:, 0], limits[:, 2]], axis=1)
    before, confined = local(xyz.numpy()), scaffold.confined(places, xyz)
    is_within = ((before >= lower) & (before <= upper)).all(axis=1)
    assert 20 < is_within.sum() < 380
    np.testing.assert_allclose(confined.numpy()[is_within], xyz.numpy()[is_within], atol=1e-12)
    np.testing.assert_allclose(local(confined.numpy()), np.clip(before, lower, upper), atol=1e-12)
    torch.testing.assert_close(scaffold.confined(places, confined), confined)


def test_gradients_flow_through_what_a_scaffold_carries():
    scaffold = double_scaffold()
    places = draw_places(scaffold, 3)
    inputs = [value.requires_grad_() for value in draw_gaussians(scaffold, places)]
    motion = scaffold.motion(places, torch.rand(EXPRESSION_SIZE, dtype=torch.float64))
    assert not motion.turn.requires_grad
    assert torch.autograd.gradcheck(motion.carry, inputs)


def test_frames_of_triangles_are_rotations_that_end_in_the_normal():
    corners = torch.randn(30, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frames = triangle_frames(corners)
    identity = torch.eye(3, dtype=torch.float64).expand(30, 3, 3)
    torch.testing.assert_close(frames.transpose(1, 2) @ frames, identity)
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(30, dtype=torch.float64))
    a, b, c = corners.numpy().transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(frames[..., 2].numpy(), normal, atol=1e-9)
    # The first edge has no part across.
    assert np.abs(((b - a) * frames[..., 1].numpy()).sum(axis=1)).max() < 1e-9


def test_seats_say_what_places_are_like():
    scaffold = double_scaffold()
    places = draw_places(scaffold)
    seats = scaffold.seats(places)
    for row in range(len(places.triangle)):
        triangle = int(places.triangle[row])
        corners = scaffold.color[scaffold.triangles[triangle].long()]
        torch.testing.assert_close(seats.color[row], places.barycentric[row] @ corners)
        assert seats.reach[row].item() == scaffold.limits[triangle, 0].item()
        assert seats.is_of_head[row] == scaffold.is_of_head[triangle]
        assert seats.seen[row] == scaffold.seen[triangle]


def test_a_pull_takes_a_share_of_the_way_to_the_middle_of_the_limits_along_the_normal():
    scaffold = double_scaffold()
    places = draw_places(scaffold)
    corners = scaffold.neutral[scaffold.triangles[places.triangle]]
    origin = (places.barycentric[..., None] * corners).sum(dim=1)
    normal = triangle_frames(corners)[..., 2]
    below, above = scaffold.limits[places.triangle, 1:].unbind(1)
    height = above.clone()
    for _ in range(3):
        height += 0.25 * (0.5 * (above - below) - height)
    xyz = origin + above[:, None] * normal
    for _ in range(3):
        xyz = scaffold.confined(places, xyz, 0.25)
    torch.testing.assert_close(xyz, origin + height[:, None] * normal)


@pytest.mark.parametrize("scale", [0.0, 0.4])
def test_gradients_reach_the_expression(scale):
    """As where a held-out frame's expression is fitted through the renderer; at rest, too."""
    scaffold = double_scaffold()
    places = draw_places(scaffold, 6)
    xyz, rotation, log_scale = draw_gaussians(scaffold, places)
    expression = scale * torch.tensor([0.5, -0.3, 0.8, 0.2, -0.6], dtype=torch.float64)

    def carried(expression):
        return scaffold.motion(places, expression).carry(xyz, rotation, log_scale)

    assert torch.autograd.gradcheck(carried, expression.requires_grad_())
