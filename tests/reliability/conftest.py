"""Curves of the runs here are blank: drawing them takes longer than the runs."""

import pytest

from tests.reliability import tiny


@pytest.fixture(autouse=True, scope="package")
def blank_curves():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.run_folder.plot_training", tiny.blank_curves)
        yield
