import numpy as np

from preparation.tracking.covered import find_covered, spans


def test_only_what_stands_out_of_the_clip_is_covered():
    flow = np.random.default_rng(0).uniform(0.3, 1.6, 200)
    assert not find_covered(flow).any()
    flow[[20, 21, 150]] = 6.0
    assert np.flatnonzero(find_covered(flow)).tolist() == [20, 21, 150]


def test_times_are_named_as_spans():
    assert spans(np.array([2.0, 2.04, 2.08, 5.0, 7.0, 7.04]), 0.04) == [
        "2.00 to 2.08 s",
        "5.00 s",
        "7.00 to 7.04 s",
    ]
    assert spans(np.array([]), 0.04) == []
