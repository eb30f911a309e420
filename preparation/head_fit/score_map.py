"""From the detector's scores to the head model's coefficients: a personal map, learned from a solved clip.

It drives an avatar where only scores arrive: a web page, a phone. A coefficient is first the score of the
same name, with a gain and a base of the person; a ridge regression over all scores adds what remains
(Hoerl and Kennard 1970), for those coefficients only where it helps on stretches of the clip that it has not
seen. Where scores leave the range that was seen the regression stands still, and a coefficient follows its
own score by no more than that moves.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

# A gain is believed to be 1, give or take so much, before a clip is seen.
_GAIN_SIGMA = 0.5
_MOST_GAIN = 3.0
# Neighbouring frames say the same: so many of them count as one.
_FRAMES_PER_OBSERVATION = 5
# Of a remainder at which Huber's weights (1964) begin to fall, in robust standard deviations.
_HUBER = 1.345
# Below, errors don't matter: it keeps the robust deviation of what never moves from being 0.
_SMALLEST_ERROR = 0.01
# A score that hardly moves must not be blown up: the least standard deviation by which one is divided.
_SMALLEST_DEVIATION = 0.02
# Percent of the frames between which a score counts as seen.
_SEEN = (1, 99)
# What is added to the diagonal of the correlation matrix; infinite: no regression at all.
_STRENGTHS = np.array([np.inf, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01])
NUM_BLOCKS = 6
# By how many standard errors an error may be larger for the sake of a stronger ridge. At 1 a clip that turns
# far is worse off than by its own scores (mouth: 21 % explained rather than 33 %), at 2 others lose 2 %.
_STANDARD_ERRORS = 1.5
# Frames of a block; a shorter clip is not regressed on.
_SMALLEST_BLOCK = 20


class _Plain(NamedTuple):
    """The score of the same name, with gain and base."""

    gain: np.ndarray  # [E]
    # Coefficients at the person's usual scores.
    base: np.ndarray  # [E]
    usual: np.ndarray  # [E]

    def __call__(self, scores: np.ndarray) -> np.ndarray:  # [..., E]
        return self.base + self.gain * (scores - self.usual)


class ScoreMap(NamedTuple):
    """Takes scores to coefficients of the same names."""

    names: tuple[str, ...]
    gain: np.ndarray  # [E]
    # Coefficients at the person's usual scores.
    base: np.ndarray  # [E]
    usual: np.ndarray  # [E]
    # Between which scores it was learned.
    seen: np.ndarray  # [2, E]
    # The regression's inputs are (scores - mean) / deviation.
    mean: np.ndarray  # [E]
    deviation: np.ndarray  # [E]
    # From standardised scores to what is added; a column of zeros where the regression did not help.
    weights: np.ndarray  # [E, E]
    # The least and the most that the regression may add.
    limits: np.ndarray  # [2, E]

    def __call__(self, scores: np.ndarray) -> np.ndarray:  # [..., E] -> [..., E]
        """Map scores; the coefficients are between 0 and 1."""
        inside = np.clip(scores, *self.seen)
        plain = _Plain(self.gain, self.base, self.usual)(inside)
        added = (inside - self.mean) / self.deviation @ self.weights
        beyond = np.minimum(self.gain, 1) * (scores - inside)
        return np.clip(plain + np.clip(added, *self.limits) + beyond, 0, 1)

    @property
    def is_regressed(self) -> np.ndarray:  # [E] bool
        """Which coefficients the regression takes part in."""
        return (self.weights != 0).any(axis=0)

    def to_json(self) -> dict[str, Any]:
        """Rounded: 1e-5 of a coefficient is nothing."""
        arrays = self._asdict()
        del arrays["names"]
        rounded = {name: np.round(array, 5).tolist() for name, array in arrays.items()}
        return {"names": list(self.names), **rounded}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "ScoreMap":
        """Invert `to_json`. Raises KeyError, TypeError or ValueError where it is something else."""
        names = tuple(values["names"])
        arrays = {name: np.array(values[name], np.float64) for name in ScoreMap._fields if name != "names"}
        count = len(names)
        for name, array in arrays.items():
            wanted = {"weights": (count, count), "seen": (2, count), "limits": (2, count)}.get(name, (count,))
            if array.shape != wanted:
                raise ValueError(f"{name}: expected {list(wanted)} numbers, got {list(array.shape)}")
        return ScoreMap(names, **arrays)


def learn_score_map(scores: np.ndarray, coefficients: np.ndarray, names: tuple[str, ...]) -> ScoreMap:
    """Learn the map of a person from frames in the order of time.

    scores, coefficients: [F, E] of the same names, the coefficients solved. Raises ValueError where the
    shapes differ.
    """
    if scores.shape != coefficients.shape or scores.shape[1] != len(names):
        raise ValueError(
            f"expected scores and coefficients [F, {len(names)}], got {scores.shape} and {coefficients.shape}"
        )
    scores, coefficients = scores.astype(np.float64), coefficients.astype(np.float64)
    chosen = _choose_strengths(scores, coefficients)  # [E]
    return _fit(scores, coefficients, names, chosen)


def named_scores(
    scores: np.ndarray, score_names: tuple[str, ...], names: tuple[str, ...]
) -> np.ndarray:  # [F, S] -> [F, E]
    """Put scores under other names; 0 where there is none."""
    named = np.zeros((len(scores), len(names)))
    for column, name in enumerate(names):
        if name in score_names:
            named[:, column] = scores[:, score_names.index(name)]
    return named


def held_out_coefficients(
    scores: np.ndarray, coefficients: np.ndarray, names: tuple[str, ...], num_blocks: int = 4
) -> np.ndarray:  # [F, E]
    """Map the scores of each stretch of the clip by what is learned from the others."""
    mapped = np.empty(scores.shape)
    for inside, outside in _blocks(len(scores), num_blocks):
        mapped[inside] = learn_score_map(scores[outside], coefficients[outside], names)(scores[inside])
    return mapped


def _fit(
    scores: np.ndarray, coefficients: np.ndarray, names: tuple[str, ...], strengths: np.ndarray
) -> ScoreMap:
    """strengths: [E], infinite where the regression is left out."""
    plain = _fit_plain(scores, coefficients)
    remainder = coefficients - plain(scores)
    # The regression is about the mean, which the robust line need not meet.
    base = plain.base + np.where(np.isfinite(strengths), remainder.mean(axis=0), 0)
    remainder -= remainder.mean(axis=0)
    mean, deviation = scores.mean(axis=0), np.maximum(scores.std(axis=0), _SMALLEST_DEVIATION)
    seen = np.percentile(scores, _SEEN, axis=0)
    inputs = (np.clip(scores, *seen) - mean) / deviation
    weights = np.zeros((len(names), len(names)))
    for strength in np.unique(strengths[np.isfinite(strengths)]):
        columns = strengths == strength
        weights[:, columns] = _ridge(inputs, remainder[:, columns], strength)
    limits = np.percentile(inputs @ weights, _SEEN, axis=0)
    return ScoreMap(names, plain.gain, base, plain.usual, seen, mean, deviation, weights, limits)


def _fit_plain(scores: np.ndarray, coefficients: np.ndarray) -> _Plain:
    """A robust line through a coefficient's score: reweighted least squares, the gain drawn towards 1."""
    usual, middle = np.median(scores, axis=0), np.median(coefficients, axis=0)
    x, y = scores - usual, coefficients - middle
    gain, base = np.ones(len(usual)), middle
    for _ in range(10):
        error = y + middle - base - gain * x
        noise = np.maximum(1.4826 * np.median(abs(error), axis=0), _SMALLEST_ERROR)
        weight = np.minimum(1, _HUBER * noise / np.maximum(abs(error), 1e-12)) / _FRAMES_PER_OBSERVATION
        total = np.maximum(weight.sum(axis=0), 1e-12)
        x_mean, y_mean = (weight * x).sum(axis=0) / total, (weight * y).sum(axis=0) / total
        prior = (noise / _GAIN_SIGMA) ** 2
        moved = (weight * (x - x_mean) ** 2).sum(axis=0)
        followed = (weight * (x - x_mean) * (y - y_mean)).sum(axis=0)
        gain = np.clip((followed + prior) / (moved + prior), 0, _MOST_GAIN)
        base = middle + y_mean - gain * x_mean
    return _Plain(gain, base, usual)


def _choose_strengths(scores: np.ndarray, coefficients: np.ndarray) -> np.ndarray:  # [E]
    """The strength with which each coefficient is told on unseen stretches; infinite: by its own score.

    Each stretch counts alike, by its error's ratio to the plain map's. Of the strengths that are within
    some standard errors of the best one the strongest is taken (Breiman et al. 1984): a stretch may be unlike
    all others, as where the head turns, and there a weak regression does harm.
    """
    num_blocks = min(NUM_BLOCKS, len(scores) // _SMALLEST_BLOCK)
    count = scores.shape[1]
    if num_blocks < 2:
        return np.full(count, np.inf)
    errors = np.empty((num_blocks, len(_STRENGTHS), count))
    for block, (inside, outside) in enumerate(_blocks(len(scores), num_blocks)):
        for row, strength in enumerate(_STRENGTHS):
            learned = _fit(scores[outside], coefficients[outside], ("",) * count, np.full(count, strength))
            errors[block, row] = ((learned(scores[inside]) - coefficients[inside]) ** 2).mean(axis=0)
    ratios = np.log(np.maximum(errors, _SMALLEST_ERROR**2) / np.maximum(errors[:, :1], _SMALLEST_ERROR**2))
    best = ratios.mean(axis=0).argmin(axis=0)
    worse = ratios - np.take_along_axis(ratios, best[None, None], axis=1)
    standard_error = worse.std(axis=0, ddof=1) / np.sqrt(num_blocks)
    return _STRENGTHS[(worse.mean(axis=0) <= _STANDARD_ERRORS * standard_error).argmax(axis=0)]


def _ridge(inputs: np.ndarray, wanted: np.ndarray, strength: float) -> np.ndarray:  # [E, C]
    system = inputs.T @ inputs / len(inputs)
    system[np.diag_indices_from(system)] += strength
    return np.linalg.solve(system, inputs.T @ wanted / len(inputs))


def _blocks(count: int, num_blocks: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks of each stretch and of all others."""
    block = np.arange(count) * num_blocks // max(count, 1)
    for number in range(num_blocks):
        yield block == number, block != number
