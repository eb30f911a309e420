"""A head whose Gaussians sit on a scaffold."""

import math

import numpy as np
import pytest
import torch

from scene.cameras import Camera
from scene.head_model import LARGEST_ON_SCAFFOLD, LEAST_OPACITY, GaussianHead
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, HALF_SIDE, make_densifier, make_head, make_optimizer


def make(num_gaussians=60, **changes) -> GaussianHead:
    """With random values in all that is learned, so that every part has a visible effect."""
    head = make_head(num_gaussians, sh_degree=0, scaffold=True, **changes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if not name.startswith("gaussians."):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for name in ("blendshapes", "color"):
            value = getattr(head.gaussians, name)
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return head


def is_of_head(head):
    return head.scaffold.is_of_head[head.gaussians.places.triangle]


def turned(camera, x=0.2):
    pose = camera.world_to_camera.clone()
    pose[0, 3] += x
    return pose


def draw_expression(seed=0):
    return torch.randn(EXPRESSION_SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pose_conditioning", [False, True])
def test_the_head_does_not_depend_on_its_pose_and_the_torso_does(camera, pose_conditioning):
    head = make(pose_conditioning=pose_conditioning)
    head.mean_pose.copy_(camera.world_to_camera[:3])
    with torch.no_grad():
        head.gaussians.torso_logit.fill_(3.0)
    expression = draw_expression()
    poses = camera.world_to_camera, turned(camera)
    before, after = (head(camera, Drive(expression, pose)) for pose in poses)
    own = is_of_head(head)
    assert own.any() and not own.all()
    for name in before._fields:
        first, second = getattr(before, name), getattr(after, name)
        if isinstance(first, torch.Tensor):
            assert torch.equal(first[own], second[own]), name
    assert ((after.means - before.means)[~own].norm(dim=1) > 0.1).all()


def test_beyond_what_the_clip_knows_only_the_scaffold_moves(camera):
    head = make(expression_gain=1.0)
    head.known_signals[0], head.known_signals[1] = -0.5, 1.5
    head.scaffold.shapes.zero_()
    head.scaffold.ball_turns.zero_()
    sign = torch.tensor([1.0, -1, 1, -1, 1])
    at_the_edge = torch.where(sign > 0, 1.5, -0.5)
    edge, within = head(camera, at_the_edge), head(camera, 0.5 * at_the_edge)
    for factor in (2.0, 50.0):
        beyond = head(camera, at_the_edge + factor * sign)
        for name in ("means", "opacities", "scales", "rotations", "sh"):
            assert torch.equal(getattr(beyond, name), getattr(edge, name)), name
    assert (within.means - edge.means).abs().max() > 1e-3
    head.scaffold.shapes.fill_(0.1)
    assert (head(camera, at_the_edge + 2 * sign).means - head(camera, at_the_edge).means).abs().max() > 0.05


def test_what_is_learned_moves_no_mean_farther_than_its_reach(camera):
    head = make()
    with torch.no_grad():
        head.gaussians.blendshapes.mul_(1e3)
        head.shape.head.bias.fill_(10.0)
    places = head.gaussians.places
    reach = head.scaffold.seats(places).reach
    expression = draw_expression()
    bare = make()
    bare.deforms = False
    with torch.no_grad():
        bare.shape.head.weight.zero_()
        bare.shape.head.bias.zero_()
    moved = (head(camera, expression).means - bare(camera, expression).means).abs()
    # Once for the shape and once for the expression, along each axis before the scaffold turns it.
    assert (moved.norm(dim=1) <= 2 * math.sqrt(3) * reach[:, 0] + 1e-5).all()
    assert moved.max() > 0.5 * reach.min()


def test_where_nobody_looked_the_colour_is_the_scaffolds(camera):
    head = make()
    places, expression = head.gaussians.places, draw_expression()
    head.scaffold.seen[::3] = 0
    is_unseen = head.scaffold.seen[places.triangle] == 0
    sh, expected = head(camera, expression).sh[:, 0], head.scaffold.seats(places).color
    assert 0 < is_unseen.sum() < len(is_unseen)
    torch.testing.assert_close(sh[is_unseen], expected[is_unseen])
    assert ((sh - expected)[~is_unseen].abs().amax(dim=1) > 1e-3).all()
    opacities = head(camera, expression).opacities[is_unseen]
    offset = torch.sigmoid(head.gaussians.opacity_offset[is_unseen])
    least = LEAST_OPACITY * is_of_head(head)[is_unseen]
    torch.testing.assert_close(opacities, least + (1 - least) * offset)


def test_nothing_shines_through_a_head(camera):
    head = make()
    with torch.no_grad():
        head.gaussians.opacity_offset.fill_(-30.0)
    opacities, own = head(camera, draw_expression()).opacities, is_of_head(head)
    assert (opacities[own] >= LEAST_OPACITY).all() and opacities[~own].max() < 1e-3


def test_colours_look_the_same_from_everywhere(camera):
    head, expression = make(), draw_expression()
    camera_to_world = np.eye(4)
    camera_to_world[:3, 3] = -0.7, 0.4, 1.5
    other = Camera.from_camera_to_world(camera_to_world, 40.0, 40.0, 16.0, 12.0, 32, 24)
    first, second = head(camera, expression), head(other, expression)
    assert torch.equal(first.sh, second.sh) and torch.equal(first.opacities, second.opacities)


def test_confining_brings_means_back_and_limits_scales():
    head = make()
    gaussians = head.gaussians
    with torch.no_grad():
        gaussians.xyz.add_(1.0)
        gaussians.log_scale[::2] = 0.0
        gaussians.log_scale[1::2] = -6.0
    head.confine_()
    places = gaussians.places
    corners = head.scaffold.neutral[head.scaffold.triangles[places.triangle]]
    origin = (places.barycentric[..., None] * corners).sum(dim=1)
    along, below, above = head.scaffold.limits[places.triangle].unbind(1)
    farthest = (2 * along.square() + torch.maximum(below, above).square()).sqrt()
    assert ((gaussians.xyz - origin).norm(dim=1) <= farthest + 1e-6).all()
    largest = math.log(HALF_SIDE * LARGEST_ON_SCAFFOLD)
    torch.testing.assert_close(gaussians.log_scale[::2], torch.full_like(gaussians.log_scale[::2], largest))
    # What nobody saw must not shrink along the surface; across it, and where it was seen, it may.
    seat = head.scaffold.seats(places)
    least = 0.4 * seat.is_of_head * (1 - seat.seen) * seat.reach[:, 0]
    expected = torch.full_like(gaussians.log_scale, -6.0)
    expected[:, :2] = expected[:, :2].maximum(least.clamp_min(1e-12).log()[:, None])
    torch.testing.assert_close(gaussians.log_scale[1::2], expected[1::2])


def test_confining_does_nothing_without_a_scaffold():
    head = make_head(5)
    before = head.gaussians.xyz.clone(), head.gaussians.log_scale.clone()
    head.confine_()
    assert torch.equal(head.gaussians.xyz, before[0]) and torch.equal(head.gaussians.log_scale, before[1])


def test_children_sit_on_their_parents_triangle():
    head = make(8)
    gaussians = head.gaussians
    with torch.no_grad():
        # Row 2 is cloned, row 5 is split.
        gaussians.log_scale.fill_(-8.0)
        gaussians.log_scale[5] = -2.0
    triangle, barycentric = gaussians.triangle.clone(), gaussians.barycentric.clone()
    densifier = make_densifier(make_optimizer(head))
    densifier.stats.max_opacity += 0.5
    densifier.stats.num_seen += 1
    densifier.stats.gradient_sum[[2, 5]] = 1.0
    change = densifier.densify_(1_000)
    assert (change.num_cloned, change.num_split, len(gaussians)) == (1, 1, 10)
    parents = [0, 1, 2, 3, 4, 6, 7, 2, 5, 5]
    assert torch.equal(gaussians.triangle, triangle[parents])
    assert torch.equal(gaussians.barycentric, barycentric[parents])
    assert not gaussians.triangle.is_floating_point() and not gaussians.barycentric.requires_grad


def test_models_of_before_scaffolds_still_load(camera):
    head = make_head(7, torso_prediction=True, torso_tracking=True)
    state, metadata = head.state_dict(), head.metadata()
    for name in ("known_poses", "gaussians.color", "gaussians.triangle", "gaussians.barycentric"):
        del state[name]
    del metadata["architecture"]["scaffold"]
    loaded = GaussianHead.from_state(state, metadata)
    pose, expression = turned(camera), draw_expression()
    before, after = (h(camera, Drive(expression, pose)) for h in (head, loaded))
    assert torch.equal(before.means, after.means) and torch.equal(before.sh, after.sh)
    # The range that was not stored is as good as none.
    assert loaded.known_poses[1].min() > 100 and loaded.known_poses[0].max() < -100
