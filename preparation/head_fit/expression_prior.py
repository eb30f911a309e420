"""What expressions are like before a frame is seen: a Gaussian over coefficients, within bounds.

Coefficients are small; those that landmarks hardly show stay near zero; the two sides of a face do much the
same, and both eyes look at the same thing. The detector's own scores, less what they are in this person's
calm frames, are where the Gaussian is centred: they tell a squint from a smile where landmarks can't.
"""

import numpy as np

from parametric_head.model import ParametricHead
from parametric_head.person import gaze_columns

# Standard deviations: of a coefficient, of one that landmarks hardly show, of the difference of two sides.
SPREAD, HIDDEN_SPREAD, SIDES_DIFFER = 0.2, 0.06, 0.1
# Around the scores, which are good here: what shuts lids, where eyes look, and other lids' shapes.
BLINK_SPREAD, GAZE_SPREAD, LID_SPREAD = 0.15, 0.07, 0.06
# Standard deviation of what the eyes differ by in where they look.
EYES_DIFFER = 0.1
_SPREADS = (
    (("jawForward", "cheekPuff", "noseSneer", "cheekSquint"), HIDDEN_SPREAD),
    ("eyeBlink", BLINK_SPREAD),
    ("eyeLook", GAZE_SPREAD),
    ("eye", LID_SPREAD),
)
# Moves nothing; and a precision that keeps it at zero.
_IDLE, _FIXED = "_neutral", 1e6
# The percentile of a score that is taken for the calm face's, and how much of the rest is believed.
_CALM, _BELIEVED = 10, 0.8


def expression_precision(head: ParametricHead) -> np.ndarray:  # [E, E]
    """The inverse covariance of the coefficients."""
    spread = np.array([_spread(name) for name in head.names])
    precision = np.diag(1 / spread**2)
    precision[head.columns[_IDLE], head.columns[_IDLE]] = _FIXED
    for left, right in side_pairs(head):
        _tie(precision, {left: 1.0, right: -1.0}, SIDES_DIFFER)
    (out_left, in_left, up_left, down_left), (out_right, in_right, up_right, down_right) = (
        gaze_columns(head, side) for side in (0, 1)
    )
    _tie(precision, {out_left: 1.0, in_left: -1.0, out_right: 1.0, in_right: -1.0}, EYES_DIFFER)
    _tie(precision, {up_left: 1.0, down_left: -1.0, up_right: -1.0, down_right: 1.0}, EYES_DIFFER)
    return precision


def side_pairs(head: ParametricHead) -> list[tuple[int, int]]:
    """Columns (left, right) of shapes that mirror each other; the gaze has ties of its own."""
    return [
        (column, head.columns[name[: -len("Left")] + "Right"])
        for name, column in head.columns.items()
        if name.endswith("Left") and not name.startswith(("eyeLook", "jawLeft", "mouthLeft"))
    ]


def expected_coefficients(scores: np.ndarray, names: tuple[str, ...], head: ParametricHead) -> np.ndarray:
    """Where the Gaussian of every frame is centred. [F, E]

    scores: [F, S] of the detector under `names`, 0 to 1; a coefficient without a score is expected to be 0.
    """
    expected = np.zeros((len(scores), len(head.names)))
    rise = np.clip(scores - np.percentile(scores, _CALM, axis=0), 0, 1)
    for column, name in enumerate(names):
        if name in head.columns:
            expected[:, head.columns[name]] = _BELIEVED * rise[:, column]
    return expected


def tidy_gaze(coefficients: np.ndarray, head: ParametricHead) -> np.ndarray:  # [F, E]
    """An eye looks up or down, in or out: take away what two opposite coefficients have in common."""
    tidied = coefficients.copy()
    for side in (0, 1):
        columns = gaze_columns(head, side)
        for pair in (columns[:2], columns[2:]):
            tidied[:, pair] -= tidied[:, pair].min(axis=1, keepdims=True)
    return tidied


def _spread(name: str) -> float:
    for begins, spread in _SPREADS:
        if name.startswith(begins):
            return spread
    return SPREAD


def _tie(precision: np.ndarray, signs: dict[int, float], deviation: float) -> None:
    """Add that a signed sum of coefficients is zero, give or take a deviation."""
    columns, values = np.array(list(signs)), np.array(list(signs.values()))
    precision[np.ix_(columns, columns)] += np.outer(values, values) / deviation**2
