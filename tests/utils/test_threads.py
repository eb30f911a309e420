import threading

import cv2
import pytest

from utils import threads
from utils.threads import in_parallel, opencv_on_one_core


@pytest.mark.parametrize("cores", [1, 3])
def test_results_are_in_the_order_of_the_items(monkeypatch, cores):
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    # With several cores the first item waits for the last: they do run at the same time.
    last_has_run = threading.Event()

    def double(item):
        if item == 0 and cores > 1:
            assert last_has_run.wait(timeout=30)
        if item == 9:
            last_has_run.set()
        return 2 * item

    assert in_parallel(double, range(10)) == [*range(0, 20, 2)]


@pytest.mark.parametrize("cores", [1, 3])
def test_the_first_failure_is_raised(monkeypatch, cores):
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda item: 1 // (item - 4), range(10))


def test_no_items_are_no_results():
    assert in_parallel(str, []) == []


def test_opencv_is_told_to_use_one_thread_and_has_its_own_number_again_whatever_happens():
    usual = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        with pytest.raises(ZeroDivisionError), opencv_on_one_core():
            assert cv2.getNumThreads() == 1
            raise ZeroDivisionError
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(usual)
