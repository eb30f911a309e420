"""From one face to another: the driver's rest and range become the avatar's, coefficient by coefficient.

    avatar = avatar's rest + scale (driver - driver's rest), clipped

Rest: of footage the 10th percentile of each coefficient, on both sides, where the avatar's motion is known;
else zero for ARKit's names, which is what a file made by hand means. Scale: the ratio of the two ranges, 10th
to 99th percentile (a blink is short), within a factor of 1.5, of footage alone. An avatar that is driven by
its own clip therefore moves as in the clip. A sequence that brings its reach (speech) rests at zero, has that
range, and goes nowhere where the avatar's clip never was.
"""

from typing import NamedTuple

import numpy as np

from rendering.driving.sequence import DrivingSequence
from scene.avatar import Avatar, are_arkit, neutral_expression
from scene.coefficients import listed
from utils.errors import UserError

REST, REACH = 10, 99
LARGEST_SCALE = 1.5
# Ranges below this are the tracker's noise.
SMALLEST_RANGE = 0.02
# A coefficient that stays below this says nothing, so that nobody needs to hear that it is unknown.
SILENT = 1e-3
# What rounding does is no clipping.
TOLERANCE = 1e-6


class Retargeted(NamedTuple):
    """A motion of the avatar's face."""

    expressions: np.ndarray  # [F, E] float32, in the avatar's order
    # What the log should say.
    notes: tuple[str, ...]


class Habits(NamedTuple):
    """How a face rests, and how far from there it moves."""

    rest: np.ndarray  # [E]
    range: np.ndarray | None  # [E]; None: not known


def retarget(sequence: DrivingSequence, avatar: Avatar) -> Retargeted:
    """Make the avatar do what the driver does.

    What the avatar does not know is left out, what the driver lacks stays at rest; the notes name both.
    Raises UserError where not one coefficient is known on both sides.
    """
    places, notes = _matched(sequence, avatar)
    is_driven = places >= 0
    values = sequence.coefficients[:, places[is_driven]].astype(np.float64)  # [F, D]
    is_arkit = avatar.expression_names is not None and are_arkit(avatar.expression_names)
    motion = None if avatar.motion is None else avatar.motion.cpu().numpy().astype(np.float64)
    neutral = avatar.neutral_expression.cpu().numpy().astype(np.float64)

    driver, own = Habits(np.zeros(values.shape[1]), None), Habits(neutral, None)
    if sequence.is_footage:
        driver = habits_of(values, is_arkit)
    elif sequence.reach is not None:
        driver = Habits(driver.rest, sequence.reach[places[is_driven]])
    if driver.range is not None and motion is not None:
        own = habits_of(motion, is_arkit)
    if driver.range is None and not is_arkit:
        driver = Habits(neutral[is_driven], None)
    scale = np.ones(values.shape[1])
    if driver.range is not None and own.range is not None:
        scale = scale_between(driver.range, own.range[is_driven])

    expressions = np.tile(own.rest, (len(values), 1))  # [F, E]
    expressions[:, is_driven] += scale * (values - driver.rest)
    if sequence.reach is not None and motion is not None:
        # No word on it: that it is meant to go no farther is how the maker of a reach wants it.
        expressions = expressions.clip(motion.min(axis=0), motion.max(axis=0))
    expressions, clip_notes = _clipped(sequence, expressions, is_arkit, motion)
    return Retargeted(expressions.astype(np.float32), (*notes, *clip_notes))


def clipped_to_unit(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values clipped to [0, 1], and how many were outside."""
    count = int(((values < -TOLERANCE) | (values > 1 + TOLERANCE)).sum())
    return values.clip(0, 1), count


def habits_of(values: np.ndarray, is_arkit: bool) -> Habits:
    """How the face of a clip rests and how far it moves, from its coefficients [F, E]."""
    low, high = np.percentile(values, [REST, REACH], axis=0)
    # Coefficients with signs, as FLAME's, rest in their middle.
    rest = low if is_arkit else neutral_expression(values, None).numpy().astype(np.float64)
    return Habits(rest, high - low)


def scale_between(driver: np.ndarray, own: np.ndarray) -> np.ndarray:
    """By what a driver's motion becomes the avatar's, of their ranges [E]; 1 where either hardly moves."""
    ratio = (own / np.maximum(driver, SMALLEST_RANGE)).clip(1 / LARGEST_SCALE, LARGEST_SCALE)
    return np.where(np.minimum(driver, own) < SMALLEST_RANGE, 1.0, ratio)


def _clipped(
    sequence: DrivingSequence, expressions: np.ndarray, is_arkit: bool, motion: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Expressions that the avatar survives, and a line: ARKit's in [0, 1], others as far as its clip went."""
    if is_arkit:
        inside, count = clipped_to_unit(expressions)
        limits = "[0, 1]"
    elif motion is not None:
        inside = expressions.clip(motion.min(axis=0), motion.max(axis=0))
        count = int((np.abs(inside - expressions) > TOLERANCE).sum())
        limits = "what the avatar's own clip has"
    else:
        return expressions, []
    if not count:
        return inside, []
    return inside, [f"{sequence.source}: {count} of {expressions.size} coefficients clipped to {limits}"]


def _matched(sequence: DrivingSequence, avatar: Avatar) -> tuple[np.ndarray, list[str]]:
    """Of each of the avatar's coefficients its column in the sequence, -1 where it has none, and notes."""
    size, found = len(avatar.neutral_expression), sequence.names
    if found is None or avatar.expression_names is None:
        num = sequence.coefficients.shape[1]
        unnamed = "the avatar" if found else "the driver"
        if num != size:
            raise UserError(
                f"{sequence.source}: {num} coefficients, the avatar has {size}, and {unnamed} has no names"
            )
        return np.arange(size), [f"{sequence.source}: {unnamed} has no names; coefficients by their place"]
    column = {spelling(name): i for i, name in enumerate(found)}
    places = np.array([column.get(spelling(name), -1) for name in avatar.expression_names])
    if (places < 0).all():
        raise UserError(
            f"{sequence.source}: none of its coefficients ({listed(found)}) is one of the avatar's "
            f"({listed(avatar.expression_names)})"
        )
    # What begins with a line, as MediaPipe's _neutral, moves nothing.
    lacking = [
        name
        for name, place in zip(avatar.expression_names, places, strict=True)
        if place < 0 and not name.startswith("_")
    ]
    says_something = np.abs(sequence.coefficients).max(axis=0) > SILENT
    unknown = [name for i, name in enumerate(found) if i not in places and says_something[i]]
    notes = []
    if unknown:
        notes.append(f"{sequence.source}: the avatar does not know {', '.join(unknown)}: left out")
    if lacking:
        notes.append(f"{sequence.source}: has no {', '.join(lacking)}: at rest")
    return places, notes


def spelling(name: str) -> str:
    """One spelling of eyeBlinkLeft, EyeBlinkLeft and eyeBlink_L."""
    for short, long in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(short):
            name = name.removesuffix(short) + long
    return name.replace("_", "").lower()
