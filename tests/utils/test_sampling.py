"""Rows that are looked at, spread over all."""

import numpy as np
import pytest

from utils.sampling import evenly_spread


@pytest.mark.parametrize(("count", "most"), [(1, 1), (7, 3), (100, 80), (1000, 9)])
def test_as_many_as_may_be_with_even_gaps(count, most):
    rows = evenly_spread(count, most)
    assert len(rows) == most
    assert rows[0] == 0
    assert most == 1 or rows[-1] == count - 1
    assert most < 3 or np.ptp(np.diff(rows)) <= 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_where_there_are_no_more(count):
    assert evenly_spread(count, 60).tolist() == list(range(count))
