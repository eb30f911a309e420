"""Files of the real head model in GAUSSIANHEAD_MODELS; where they are not, the test is skipped."""

import os
from pathlib import Path

import pytest

# Before a test changes the environment.
_FOLDER = os.environ.get("GAUSSIANHEAD_MODELS")


def real_file(name: str) -> Path:
    if not _FOLDER or not (Path(_FOLDER) / name).exists():
        pytest.skip(f"needs {name} in GAUSSIANHEAD_MODELS")
    return Path(_FOLDER) / name
