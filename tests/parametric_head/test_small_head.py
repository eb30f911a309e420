import numpy as np

from tests.parametric_head.small_head import small_head, small_landmarks


def test_the_small_head_has_the_parts_of_the_real_one():
    head = small_head()
    assert len(head.part_names) == 9 and set(head.triangle_part) == set(range(9))
    assert len(head.names) == 52 and head.names[0] == "_neutral"
    assert head.triangles.max() == len(head.neutral) - 1


def test_every_expression_but_neutral_moves_something_and_no_eyeball():
    head = small_head()
    motion = np.abs(head.expression).max((1, 2))
    assert motion[0] == 0 and motion[1:].min() > 0.03
    assert np.abs(head.expression[:, head.part("eyeball_left").start :]).max() == 0


def test_triangles_look_outwards():
    head = small_head()
    is_shell = head.triangle_part < 2
    first, second, third = head.neutral[head.triangles[is_shell]].transpose(1, 0, 2)
    normals = np.cross(second - first, third - first)
    outwards = (normals * ((first + second + third) / 3 * [1, 0, 1])).sum(1)
    # All but the underside of nose and chin, where out is down.
    assert (outwards > 0).mean() > 0.9


def test_seeds_draw_other_identities():
    assert not np.array_equal(small_head(0).identity, small_head(1).identity)
    assert np.array_equal(small_head(0).neutral, small_head(1).neutral)


def test_its_landmarks_follow_the_jaw():
    head = small_head()
    places = small_landmarks(head)
    motion = places.of(head.expression[head.columns["jawOpen"]])
    upper, lower = 13, 14
    assert np.abs(motion[upper]).max() < 0.01 and motion[lower, 1] < -2
