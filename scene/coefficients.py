"""Whose coefficients are whose: where a clip meets an avatar or a checkpoint, they are matched by name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scene.dataset_readers import Clip
from utils.errors import UserError

SHOWN_NAMES = 6


def matched(clip: Clip, names: Sequence[str] | None, size: int, owner: str) -> Clip:
    """The clip with its expressions in the order of `owner`, which has `size` coefficients with these names.

    Coefficients that the owner does not know are left out; without names on one side, their place decides.
    The clip's notes say so. Raises UserError where the owner's coefficients are not there.
    """
    found, where = clip.expression_names, f"{clip.root / 'transforms.json'}: exp_names"
    num = len(clip.frames[0].expression)
    if found is None or names is None:
        if num != size:
            raise UserError(f"{clip.root}: {num} expression coefficients; {owner} was trained with {size}")
        if found is names:
            return clip
        unnamed = "the clip" if found is None else owner
        return _with_note(
            clip, f"{where}: {unnamed} has no names; the {num} coefficients are taken as they come"
        )
    names = tuple(names)
    if found == names:
        return clip
    missing = [name for name in names if name not in found]
    extra = [name for name in found if name not in names]
    if missing:
        has = f", and has {listed(extra)}, which {owner} does not know" if extra else ""
        raise UserError(f"{where}: lacks {listed(missing)} of {owner}{has}")
    order = np.array([found.index(name) for name in names])
    frames = tuple(replace(frame, expression=frame.expression[order]) for frame in clip.frames)
    left_out = f"; left out: {listed(extra)}" if extra else ""
    note = f"{where}: another order than that of {owner}; matched by name{left_out}"
    return _with_note(replace(clip, frames=frames, expression_names=names), note)


def _with_note(clip: Clip, note: str) -> Clip:
    return replace(clip, notes=(*clip.notes, note))


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
