from typing import NamedTuple

import numpy as np
import pytest

from tests.preparation.head_fit.talking_head import TalkingHead, draw, talking_head

NUM_DRAWN, SIDE = 12, 256


class Drawn(NamedTuple):
    """Pictures of a person, with the truth about them."""

    truth: TalkingHead
    frames: list[np.ndarray]  # [H, W, 3] uint8 each


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    truth = talking_head(NUM_DRAWN, 20.0, size=SIDE)
    return Drawn(truth, [draw(truth, row, SIDE) for row in range(NUM_DRAWN)])
