"""A person fitted to mattes drawn of the same person with another skull, other ears or another neck."""

from functools import cache

import cv2
import numpy as np
import pytest

from parametric_head.drawing import draw_mesh
from parametric_head.person import Person
from parametric_head.zones import EAR, FACE, NECK, SKULL, zones
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, exp_so3
from preparation.head_fit.outline import OutlineViews, choose_views, fit_outline
from tests.parametric_head.small_head import small_head, small_landmarks

SCALE = 0.029
SIZE = 320
CAMERA = Camera(900.0, np.array([SIZE / 2, SIZE / 2]))
YAWS = (-40, -25, -12, 0, 12, 25, 40)
PIXELS_PER_CM = CAMERA.focal * SCALE / 3.0


@cache
def guess() -> Person:
    identity = np.random.default_rng(0).normal(size=6) * 0.5
    offsets = np.full((478, 3), [0.1, 0.0, 0.05])
    turn = exp_so3(np.array([0.02, 0.1, 0.0]))
    return Person(identity, offsets, small_landmarks(small_head()), SCALE, turn, np.array([0.01, 0.02, 0.0]))


def views_of(move, yaws=YAWS, change_matte=lambda matte: matte):
    """Mattes of the guess, its vertices moved on the model by move(points [V, 3] cm) [V, 3] cm."""
    head = small_head()
    mesh = guess().mesh(head)
    vectors = np.zeros((len(yaws), 3))
    vectors[:, 1] = np.deg2rad(yaws)
    flip = np.diag([1.0, -1.0, -1.0])
    poses = Poses(exp_so3(vectors) @ flip, np.tile([0.0, 0.05, 3.0], (len(yaws), 1)))
    coefficients = np.zeros((len(yaws), len(head.names)))
    coefficients[::2, head.columns["jawOpen"]] = 0.4
    moved = SCALE * move(head.neutral.astype(np.float64)) @ guess().rotation.T
    skin = head.triangles[
        np.isin(head.triangle_part, [head.part_names.index(n) for n in ("face", "head_neck")])
    ]
    mattes = []
    for frame, weights in enumerate(coefficients):
        points = (mesh.vertices(weights) + moved) @ poses.rotations[frame].T + poses.translations[frame]
        drawn = draw_mesh(points, skin, CAMERA.focal, CAMERA.center, (SIZE, SIZE))
        mattes.append(change_matte((drawn.triangle >= 0).astype(np.uint8) * 255))
    return OutlineViews(poses, coefficients, mattes)


def displacement(views):
    """How the fit moves the mesh, [V, 3] cm on the model."""
    head = small_head()
    person = fit_outline(head, guess(), views, CAMERA, quiet=True)
    moved = person.mesh(head).neutral - guess().mesh(head).neutral
    return moved @ guess().rotation / SCALE


def in_zone(*wanted):
    return np.isin(zones(small_head()), wanted)


def nothing(points):
    return np.zeros_like(points)


def smaller_skull(points):
    """Narrower above the ears and shorter behind, by a tenth."""
    weight = np.clip((points[:, 1] - 3) / 3, 0, 1) * np.clip((6 - points[:, 2]) / 6, 0, 1)
    return -0.1 * points * weight[:, None] * [1, 0, 1]


def wider_ears(points):
    is_ear = in_zone(EAR)
    return 0.7 * np.sign(points) * is_ear[:, None] * [1, 0, 0]


def wider_neck(points):
    return 0.2 * points * in_zone(NECK)[:, None] * (points[:, 1:2] < -6.9) * [1, 0, 0]


def test_person_whose_outline_fits_stays_as_it_is():
    assert np.linalg.norm(displacement(views_of(nothing)), axis=1).max() < 0.25


def test_skull_outside_of_the_matte_is_drawn_in():
    true = smaller_skull(small_head().neutral.astype(np.float64))
    found = displacement(views_of(smaller_skull))
    is_wrong = in_zone(SKULL) & (np.linalg.norm(true, axis=1) > 0.4)
    remaining = np.linalg.norm(found - true, axis=1)[is_wrong]
    assert remaining.mean() < 0.5 * np.linalg.norm(true, axis=1)[is_wrong].mean()
    sides = is_wrong & (abs(small_head().neutral[:, 0]) > 6)
    np.testing.assert_allclose(found[sides, 0].mean(), true[sides, 0].mean(), atol=0.15)


def test_ears_are_found():
    found = displacement(views_of(wider_ears)) * np.sign(small_head().neutral)
    tips = in_zone(EAR) & (abs(small_head().neutral[:, 0]) > 8.2)
    assert abs(found[tips, 0].mean() - 0.7) < 0.2


def test_side_that_is_not_seen_is_like_the_other():
    # At such angles only one ear is a part of the outline.
    found = displacement(views_of(wider_ears, yaws=(20, 30, 40))) * np.sign(small_head().neutral)
    tips = in_zone(EAR) & (abs(small_head().neutral[:, 0]) > 8.2)
    left = small_head().neutral[:, 0] > 0
    assert found[tips & left, 0].mean() > 0.2
    assert found[tips & ~left, 0].mean() > 0.2


def test_neck_is_found():
    head = small_head()
    found = displacement(views_of(wider_neck))
    sides = in_zone(NECK) & (abs(head.neutral[:, 0]) > 4) & (head.neutral[:, 1] < -8)
    ratio = found[sides, 0] / head.neutral[sides, 0]
    assert abs(ratio.mean() - 0.2) < 0.06


def test_thick_hair_does_not_blow_up_the_skull():
    def with_hair(matte):
        radius = round(3 * PIXELS_PER_CM)
        grown = cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2))
        # Above the ears.
        top = np.flatnonzero(matte.any(axis=1))[0]
        grown[top + round(7 * PIXELS_PER_CM) :] = 0
        return np.maximum(matte, grown)

    found = displacement(views_of(nothing, change_matte=with_hair))
    outwards = (found * small_head().neutral).sum(axis=1)[in_zone(SKULL)]
    assert outwards.mean() > 0
    assert np.linalg.norm(found, axis=1).max() < 1.0


def test_shoulders_do_not_pull_the_neck():
    def with_shoulders(matte):
        rows = np.flatnonzero(matte.any(axis=1))
        chin = rows[0] + round(22 * PIXELS_PER_CM)
        y, x = np.mgrid[:SIZE, :SIZE]
        return np.where(y - chin > 0.35 * np.maximum(abs(x - SIZE / 2) - 5 * PIXELS_PER_CM, 0), 255, matte)

    head = small_head()
    alone = displacement(views_of(nothing))
    found = displacement(views_of(nothing, change_matte=with_shoulders))
    assert np.linalg.norm(found - alone, axis=1)[in_zone(NECK)].max() < 0.35
    assert np.linalg.norm(found, axis=1)[: head.part("head_neck").stop].max() < 0.6


@pytest.mark.parametrize("move", [smaller_skull, wider_ears, wider_neck])
def test_face_and_its_offsets_stay(move):
    head, views = small_head(), views_of(move)
    person = fit_outline(head, guess(), views, CAMERA, quiet=True)
    np.testing.assert_array_equal(person.offsets[:478], guess().offsets)
    before, after = (each.mesh(head).landmarks(views.coefficients[0]) for each in (guess(), person))
    assert after.shape == (478, 3)
    assert np.linalg.norm(after - before, axis=1).max() / SCALE < 0.15
    again = fit_outline(head, person, views, CAMERA, quiet=True)
    np.testing.assert_allclose(again.offsets, person.offsets, atol=1e-9)


def test_unit_of_the_head_frame_does_not_matter():
    head, views = small_head(), views_of(wider_ears)
    person = guess()
    in_cm = Person(
        person.identity, person.offsets, person.places, 1.0, person.rotation, person.translation / SCALE
    )
    poses = Poses(views.poses.rotations, views.poses.translations / SCALE)
    one = fit_outline(head, person, views, CAMERA, quiet=True)
    other = fit_outline(head, in_cm, views._replace(poses=poses), CAMERA, quiet=True)
    np.testing.assert_allclose(one.offsets, other.offsets, atol=1e-3)


def test_matte_without_anybody_changes_little():
    views = views_of(nothing, change_matte=np.zeros_like)
    assert np.isfinite(displacement(views)).all()


def test_numbers_of_frames_must_agree():
    views = views_of(nothing)
    with pytest.raises(ValueError, match="frames"):
        fit_outline(small_head(), guess(), views._replace(mattes=views.mattes[1:]), CAMERA)


def test_chosen_views_span_the_turns():
    yaws = np.deg2rad(np.concatenate([np.random.default_rng(0).normal(0, 2, 300), [-30, 0, 40]]))
    vectors = np.stack([0 * yaws, yaws, 0 * yaws], axis=1)
    chosen = choose_views(Poses(exp_so3(vectors), np.zeros((303, 3))), 6)
    assert len(set(chosen)) == 6
    assert {300, 302} <= set(chosen.tolist())
    assert len(choose_views(Poses(exp_so3(vectors[:3]), np.zeros((3, 3))), 6)) == 3


def test_zones_lie_where_their_names_say():
    head = small_head()
    x, y, z = head.neutral.T
    assert y[in_zone(SKULL)].min() > -3.5
    assert (abs(x[in_zone(EAR)]) > 6.5).all() and in_zone(EAR).any()
    assert y[in_zone(NECK)].max() < -2.9
    assert z[in_zone(FACE)].max() > 8


def test_view_in_which_the_head_is_outside_of_the_picture_does_not_count():
    views = views_of(wider_ears, yaws=(-25, 0, 25))
    poses, coefficients, mattes = views
    away = Poses(
        np.concatenate([poses.rotations, poses.rotations[:1]]),
        np.concatenate([poses.translations, [[5.0, 0.0, 3.0]]]),
    )
    more = OutlineViews(away, coefficients[[0, 1, 2, 0]], [*mattes, np.zeros_like(mattes[0])])
    person = fit_outline(small_head(), guess(), more, CAMERA, quiet=True)
    tips = in_zone(EAR) & (abs(small_head().neutral[:, 0]) > 8.2)
    moved = (
        (person.mesh(small_head()).neutral - guess().mesh(small_head()).neutral) @ guess().rotation / SCALE
    )
    assert (moved * np.sign(small_head().neutral))[tips, 0].mean() > 0.4
