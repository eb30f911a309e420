"""Texels lie on the mesh, and their depth is mended by what turned views show."""

import cv2
import numpy as np
import pytest

from preparation.geometry.landmark_names import LEFT_EYE, LIPS, RIGHT_EYE
from preparation.head_fit.atlas import TEXEL, make_atlas, mend_depth
from preparation.head_fit.follower import Follower
from preparation.head_fit.head_fit import Fit

NOSE = 4


@pytest.fixture(scope="module")
def mesh(drawn):
    return drawn.truth.mesh


@pytest.fixture(scope="module")
def usual(drawn):
    return np.median(drawn.truth.coefficients, axis=0)


@pytest.fixture(scope="module")
def atlas(mesh, usual):
    return make_atlas(mesh, usual)


def test_texels_move_with_the_mesh(mesh, atlas, drawn):
    coefficients = drawn.truth.coefficients[5]
    triangles = mesh.vertices(coefficients)[atlas.corners]
    on_mesh = np.einsum("tk,tkc->tc", atlas.barycentric, triangles)
    # Texels are float32.
    np.testing.assert_allclose(atlas.at(coefficients), on_mesh, atol=1e-5)
    np.testing.assert_allclose(atlas.barycentric.sum(axis=1), 1, atol=1e-6)
    assert atlas.barycentric.min() > -1e-6
    part = mesh.head.part("face")
    assert (atlas.corners < part.stop).all()


def test_the_grid_is_the_face_seen_from_the_front(atlas, usual):
    points = atlas.at(usual)
    across, down = (
        np.polynomial.Polynomial.fit(*pair, 1).convert().coef
        for pair in ((atlas.columns, points[:, 0]), (atlas.rows, points[:, 1]))
    )
    # Seen from afar, what is near is a trifle larger: by its depth, 0.2, over 100.
    assert across[1] == pytest.approx(TEXEL, rel=4e-3)
    assert down[1] == pytest.approx(-TEXEL, rel=4e-3)
    assert np.abs(points[:, 0] - across[0] - across[1] * atlas.columns).max() < TEXEL
    assert atlas.normals[:, 2].min() > 0.25


def test_an_image_lays_values_out_and_keeps_the_rest(atlas):
    values = np.random.default_rng(0).normal(size=(len(atlas.rows), 2)).astype(np.float32)
    picture = atlas.image(values, outside=-7.0)
    assert picture.shape == (*atlas.shape, 2)
    np.testing.assert_array_equal(picture[atlas.rows, atlas.columns], values)
    is_texel = np.zeros(atlas.shape, bool)
    is_texel[atlas.rows, atlas.columns] = True
    assert is_texel.sum() == len(atlas.rows)
    assert (picture[~is_texel] == -7).all()


def near(atlas, mesh, usual, landmarks, distance):
    places = mesh.landmarks(usual)[landmarks, :2]
    apart = np.linalg.norm(atlas.at(usual)[:, None, :2] - places, axis=-1)
    return apart.min(axis=1) < distance


def test_the_rigid_part_is_clear_of_what_moves(atlas, mesh, usual):
    moving = near(atlas, mesh, usual, [*LIPS, *LEFT_EYE, *RIGHT_EYE], 0.01)
    assert moving.sum() > 500
    assert not (atlas.is_rigid & moving).any()
    assert near(atlas, mesh, usual, [NOSE], 0.01)[atlas.is_rigid].any()
    # Nothing below the lips, which the jaw takes along.
    assert atlas.at(usual)[atlas.is_rigid, 1].min() > mesh.landmarks(usual)[LIPS, 1].max()
    assert 0.2 < atlas.is_rigid.mean() < 0.6


def test_the_upper_part_is_above_the_lips_without_the_eyes(atlas, mesh, usual):
    height, lips = atlas.at(usual)[:, 1], mesh.landmarks(usual)[LIPS, 1].max()
    eyes = near(atlas, mesh, usual, [*LEFT_EYE, *RIGHT_EYE], 0.01)
    assert not (atlas.is_upper & (eyes | (height < lips))).any()
    assert (atlas.is_upper & atlas.is_rigid).sum() == atlas.is_rigid.sum()


# Mending depth.


@pytest.fixture(scope="module")
def views():
    """Directions from the camera to a head that turns by up to 25 degrees."""
    rng = np.random.default_rng(0)
    angles = np.deg2rad(25) * rng.uniform(-1, 1, (30, 2))
    views = np.stack([np.tan(angles[:, 0]), np.tan(angles[:, 1]), -np.ones(30)], axis=1)
    return views / np.linalg.norm(views, axis=1, keepdims=True)


def bump(atlas, height=0.01, reach=0.05):
    """A smooth bump beside the nose, head units."""
    place = np.array([0.05, atlas.neutral[:, 1].mean()])
    squared = ((atlas.neutral[:, :2] - place) ** 2).sum(axis=1)
    return height * np.exp(-squared / (2 * reach**2))


def flows_of(depth, views, noise=0.0):
    """Where the ray through a point that is `depth` too high meets the surface, in texels right and down."""
    along_ray = -depth[None, :, None] * (views[:, :2] / views[:, 2:])[:, None]
    along_ray = along_ray - along_ray.mean(axis=0)
    random = np.random.default_rng(1).normal(size=along_ray.shape)
    return along_ray / [TEXEL, -TEXEL] + noise * random


def mended(atlas, flows, views, is_seen=None):
    is_seen = np.ones(flows.shape[:2], bool) if is_seen is None else is_seen
    changed = mend_depth(atlas, flows, is_seen, views)
    np.testing.assert_array_equal(changed.neutral[:, :2], atlas.neutral[:, :2])
    return changed.neutral[:, 2] - atlas.neutral[:, 2]


def like_a_turn(atlas, depth):
    """The part of a depth that a plane and a deeper head explain."""
    basis = np.column_stack([np.ones(len(depth)), atlas.neutral])
    return basis @ np.linalg.lstsq(basis, depth, rcond=None)[0]


def test_a_bump_is_found(atlas, views):
    true = bump(atlas)
    found = mended(atlas, flows_of(true, views, noise=0.5), views)
    wanted = true - like_a_turn(atlas, true)
    assert np.corrcoef(found, wanted)[0, 1] > 0.98
    # A little less than the whole of it: smoothed, and weighed against texels that are right.
    assert np.polyfit(wanted, found, 1)[0] == pytest.approx(0.88, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_what_a_turn_or_a_deeper_head_explains_is_left_alone(atlas, views, axis):
    depth = np.full(len(atlas.neutral), 0.01) if axis is None else 0.1 * atlas.neutral[:, axis]
    found = mended(atlas, flows_of(depth.astype(float), views), views)
    assert np.abs(depth).max() > 0.009
    assert np.abs(found).max() < 0.15 * np.abs(depth - depth.mean() * (axis is not None)).max()


def test_texels_that_are_not_seen_have_no_say(atlas, views):
    true, is_seen = bump(atlas), np.ones((30, len(atlas.neutral)), bool)
    flows = flows_of(true, views)
    is_seen[::3] = False
    flows[::3] = 8.0 * flows[::3] + 2
    found = mended(atlas, flows, views, is_seen)
    assert np.corrcoef(found, true - like_a_turn(atlas, true))[0, 1] > 0.98


def test_a_flat_nose_is_mended_by_pictures(drawn, atlas):
    truth = drawn.truth
    wrong = bump(atlas, height=0.02, reach=0.04)
    flat = atlas._replace(neutral=(atlas.neutral - [0, 0, 1] * wrong[:, None]).astype(np.float32))
    follower = Follower(truth.mesh, flat, truth.camera)
    fits = [
        Fit(truth.poses, truth.coefficients, truth.poses).select([row]) for row in range(len(drawn.frames))
    ]
    textures = np.stack([follower.look(*pair).texture for pair in zip(drawn.frames, fits, strict=True)])
    median = np.nanmedian(np.where(np.isfinite(textures).any(axis=0), textures, 0), axis=0)
    follower = follower.with_texture(median)
    flows = np.stack([follower.flow(texture) for texture in textures])
    views = np.einsum("fji,fj->fi", truth.poses.rotations, truth.poses.translations)
    found = mended(flat, flows, views, np.isfinite(textures))
    smooth = cv2.GaussianBlur(atlas.image(found), (0, 0), 3)[atlas.rows, atlas.columns]
    top = wrong > 0.8 * wrong.max()
    around = (wrong < 0.1 * wrong.max()) & atlas.is_upper
    # By a third of it in one round, at least, and in the right direction.
    assert smooth[top].mean() - smooth[around].mean() > 0.3 * wrong[top].mean()
