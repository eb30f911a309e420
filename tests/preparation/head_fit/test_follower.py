"""One frame against the clip's texture: its equations, what is seen, frames that lead astray."""

import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator

from preparation.geometry.rigid import log_so3, project
from preparation.head_fit.atlas import make_atlas
from preparation.head_fit.follower import Follower, Observed
from preparation.head_fit.head_fit import Fit
from tests.preparation.head_fit.conftest import NUM_DRAWN, SIDE
from tests.preparation.head_fit.talking_head import observe


@pytest.fixture(scope="module")
def true_fit(drawn):
    truth = drawn.truth
    return Fit(truth.poses, truth.coefficients, truth.poses)


@pytest.fixture(scope="module")
def textures(drawn, bare, true_fit):
    return np.stack(
        [bare.look(drawn.frames[row], true_fit.select([row])).texture for row in range(NUM_DRAWN)]
    )


@pytest.fixture(scope="module")
def bare(drawn):
    """A follower that has not seen a picture."""
    truth = drawn.truth
    return Follower(truth.mesh, make_atlas(truth.mesh, np.median(truth.coefficients, axis=0)), truth.camera)


@pytest.fixture(scope="module")
def follower(bare, textures):
    return bare.with_texture(np.nanmedian(textures, axis=0))


def observed_in(truth, row):
    return Observed(observe(truth, 0.3)[[row], :, :2], truth.coefficients[[row]], np.full(478, 1.0))


def degrees(first, second):
    return np.rad2deg(np.linalg.norm(log_so3(first.rotations @ second.rotations.transpose(0, 2, 1)), axis=1))


def test_a_texel_looks_the_same_in_all_frames(textures):
    middle = textures[NUM_DRAWN // 2]
    for texture in textures:
        both = np.isfinite(texture) & np.isfinite(middle)
        assert both.mean() > 0.5
        assert np.corrcoef(texture[both], middle[both])[0, 1] > 0.9


def test_texels_are_looked_up_where_they_are_in_the_picture(drawn, bare, true_fit):
    laid = bare.look(drawn.frames[3], true_fit.select([3]))
    truth, atlas = drawn.truth, bare.atlas
    vertices = truth.poses.select([3]).apply(truth.mesh.vertices(truth.coefficients[3]))[0]
    points = np.einsum("tk,tkc->tc", atlas.barycentric, vertices[atlas.corners])
    # Float32 texels at a focal length of 820 pixels.
    np.testing.assert_allclose(
        laid.pixels, project(points, truth.camera.focal, truth.camera.center), atol=0.01
    )


def test_what_is_turned_away_or_out_of_the_picture_is_not_seen(drawn, bare, true_fit):
    fit = true_fit.select([0])
    beside = Fit(fit.poses.moved(np.zeros((1, 3)), np.array([[0.45, 0, 0]])), fit.coefficients, fit.poses)
    laid = bare.look(drawn.frames[0], beside)
    outside = laid.pixels[:, 0] > SIDE
    assert 0.1 < outside.mean() < 0.9
    assert np.isnan(laid.texture[outside]).all()
    turned = Fit(fit.poses.moved(np.array([[0, 1.2, 0]]), np.zeros((1, 3))), fit.coefficients, fit.poses)
    laid = bare.look(drawn.frames[0], turned)
    # Of a texel's normal and the direction to the camera, once more.
    view = -laid.points / np.linalg.norm(laid.points, axis=1, keepdims=True)
    cosine = ((bare.atlas.normals @ turned.poses.rotations[0].T) * view).sum(axis=1)
    assert np.isnan(laid.texture[cosine < 0.2]).all() and (cosine < 0.2).any()
    inside = ((laid.pixels > 5) & (laid.pixels < SIDE - 5)).all(axis=1)
    assert np.isfinite(laid.texture[(cosine > 0.3) & inside]).all()


def test_flow_equations_are_solved_by_the_motion_that_caused_the_flow(drawn, follower, true_fit):
    """right = system @ motion, where the flow is that of a small motion of pose and expression."""
    rng = np.random.default_rng(0)
    fit, camera, atlas = true_fit.select([4]), drawn.truth.camera, follower.atlas
    laid = follower.look(drawn.frames[4], fit)
    motion = np.concatenate([1e-3 * rng.normal(size=6), 3e-3 * rng.normal(size=52)])
    # The gaze turns no skin's texel but by its lids, which are shapes like others.
    moved = fit.poses.moved(motion[None, :3], motion[None, 3:6])
    points = moved.apply(atlas.at(fit.coefficients[0] + motion[6:]))[0]
    pixels = project(points, camera.focal, camera.center)
    # Where on the grid, as it now lies in the picture, the moved texels are.
    grid = np.stack([atlas.columns, atlas.rows], axis=1).astype(float)
    flow, chosen = np.zeros_like(grid), follower._chosen
    flow[chosen] = np.nan_to_num(LinearNDInterpolator(laid.pixels, grid)(pixels[chosen]) - grid[chosen])
    assert 0.1 < np.abs(flow[chosen]).mean() < 1
    system, right = follower._flow_equations(laid, flow, fit)
    predicted = system @ motion
    assert np.abs(right).max() > 0
    # Second order in the motion, and folds of the small head's coarse mesh.
    np.testing.assert_allclose(right, predicted, atol=0.05 * np.abs(predicted).max())
    scale = np.sqrt(np.diag(system))
    moving = scale > 1e-2 * scale.max()
    cosine = (
        (right * predicted)[moving].sum() / np.linalg.norm(right[moving]) / np.linalg.norm(predicted[moving])
    )
    assert cosine > 0.998


def test_a_step_undoes_a_small_turn(drawn, follower, true_fit):
    truth = drawn.truth
    fit = true_fit.select([4])
    start = fit.poses.moved(np.array([[0.02, -0.02, 0.01]]), np.array([[0.003, -0.003, 0.02]]))
    refined = follower.refine(drawn.frames[4], Fit(start, fit.coefficients, start), observed_in(truth, 4))
    assert degrees(start, fit.poses)[0] > 1.5
    assert degrees(refined.fit.poses, fit.poses)[0] < 0.3
    assert not refined.is_rejected
    shifted = follower.look(drawn.frames[4], Fit(start, fit.coefficients, start)).texture
    assert refined.rigid_flow < 0.2 * follower.rigid_flow(shifted, follower.flow(shifted))
    np.testing.assert_allclose(
        refined.view, refined.fit.poses.rotations[0].T @ refined.fit.poses.translations[0], atol=1e-12
    )


def test_a_pose_that_leads_astray_is_left_alone(drawn, follower, true_fit):
    fit = true_fit.select([4])
    # Beside the head there is nothing to see, and the landmarks pull far.
    lost = fit.poses.moved(np.zeros((1, 3)), np.array([[2.0, 0.0, 0.0]]))
    start = Fit(lost, fit.coefficients, fit.landmark_poses)
    refined = follower.refine(drawn.frames[4], start, observed_in(drawn.truth, 4))
    assert refined.is_rejected
    assert refined.fit is start


def test_a_frame_of_noise_does_no_harm(drawn, follower, true_fit):
    fit = true_fit.select([4])
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    for frame in (noise, np.zeros_like(noise)):
        refined = follower.refine(frame, fit, observed_in(drawn.truth, 4))
        assert degrees(refined.fit.poses, fit.poses)[0] < 3
        assert np.isfinite(refined.fit.coefficients).all()
        assert refined.fit.coefficients.min() >= 0 and refined.fit.coefficients.max() <= 1


def test_a_hand_before_the_face_is_not_followed(drawn, follower, true_fit):
    fit, frame = true_fit.select([4]), drawn.frames[4].copy()
    rng = np.random.default_rng(1)
    nose = observe(drawn.truth)[4, 4, :2].astype(int)
    hand = (slice(nose[1], nose[1] + 60), slice(nose[0] - 20, nose[0] + 50))
    frame[hand] = rng.integers(60, 200, frame[hand].shape, dtype=np.uint8)
    refined = follower.refine(frame, fit, observed_in(drawn.truth, 4))
    assert degrees(refined.fit.poses, fit.poses)[0] < 0.5


def test_a_frame_is_judged_by_what_the_landmarks_say(drawn, follower, true_fit):
    fit = true_fit.select([4])
    far = fit._replace(poses=fit.poses.moved(np.array([[0, 0.3, 0]]), np.zeros((1, 3))))
    refined = follower.refine(drawn.frames[4], fit, observed_in(drawn.truth, 4), by_landmarks=far)
    assert refined.is_rejected
    assert refined.fit is far
