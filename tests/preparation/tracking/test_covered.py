import numpy as np

from preparation.tracking.covered import find_covered, spans


def faces(num: int) -> np.ndarray:
    """One face with a little noise of its own in every frame."""
    random = np.random.default_rng(1)
    face = random.uniform(50, 200, (32, 32))
    return (
        np.stack([face + random.normal(0, 8, face.shape) for _ in range(num)]).clip(0, 255).astype(np.uint8)
    )


def test_only_what_stands_out_and_looks_like_no_other_frame_is_covered():
    flow, pictures = np.random.default_rng(0).uniform(0.3, 1.6, 200), faces(200)
    assert not find_covered(flow, pictures).any()
    flow[[20, 21, 150]] = 6.0
    # A strong expression: much flow, and the same face.
    assert not find_covered(flow, pictures).any()
    pictures[[20, 21], 14:] = 120
    assert np.flatnonzero(find_covered(flow, pictures)).tolist() == [20, 21]


def test_times_are_named_as_spans():
    assert spans(np.array([2.0, 2.04, 2.08, 5.0, 7.0, 7.04]), 0.04) == [
        "2.00 to 2.08 s",
        "5.00 s",
        "7.00 to 7.04 s",
    ]
    assert spans(np.array([]), 0.04) == []
