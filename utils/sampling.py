"""Which of many things are looked at."""

import numpy as np


def evenly_spread(count: int, most: int) -> np.ndarray:  # [N]
    """Rows from the first to the last of `count`, evenly spread: at most so many, ascending."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
