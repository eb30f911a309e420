"""Coefficients are matched by name, or refused with the names that differ."""

import numpy as np
import pytest

from scene.coefficients import matched
from scene.dataset_readers import read_transforms
from tests.synthetic import edited_json, write_clip
from utils.errors import UserError

NAMES = ("shape0", "shape1", "shape2", "shape3", "shape4")


@pytest.fixture
def root(tmp_path):
    return write_clip(tmp_path / "clip", num_frames=3)


def expressions(clip):
    return np.stack([frame.expression for frame in clip.frames])


def test_the_same_names_in_the_same_order_change_nothing(root):
    clip = read_transforms(root)
    assert matched(clip, NAMES, 5, "the avatar") is clip


def test_another_order_is_brought_to_the_owners_with_a_note(root):
    clip = read_transforms(root)
    order = [3, 0, 4, 1, 2]
    found = matched(clip, [NAMES[i] for i in order], 5, "the avatar")
    assert np.array_equal(expressions(found), expressions(clip)[:, order])
    assert found.expression_names == tuple(NAMES[i] for i in order)
    assert "another order" in found.notes[-1]
    again = matched(found, NAMES, 5, "the avatar")
    assert np.array_equal(expressions(again), expressions(clip))


def test_coefficients_that_the_owner_does_not_know_are_left_out(root):
    clip = read_transforms(root)
    found = matched(clip, ("shape4", "shape1"), 2, "the avatar")
    assert np.array_equal(expressions(found), expressions(clip)[:, [4, 1]])
    assert "left out: shape0, shape2, shape3" in found.notes[-1]


def test_missing_coefficients_are_refused_by_name(root):
    with pytest.raises(
        UserError, match=r"lacks jawOpen of the avatar, and has shape1, shape2, shape3, shape4, which"
    ):
        matched(read_transforms(root), ("shape0", "jawOpen"), 2, "the avatar")


@pytest.mark.parametrize("unnamed", ["clip", "owner", "both"])
def test_without_names_the_number_decides(root, unnamed):
    if unnamed in ("clip", "both"):
        with edited_json(root) as document:
            del document["exp_names"]
    clip, names = read_transforms(root), NAMES if unnamed == "clip" else None
    found = matched(clip, names, 5, "the avatar")
    assert np.array_equal(expressions(found), expressions(clip))
    assert ("taken as they come" in found.notes[-1]) is (unnamed != "both")
    with pytest.raises(UserError, match="5 expression coefficients; the avatar was trained with 6"):
        matched(clip, None if names is None else (*names, "more"), 6, "the avatar")
