"""The model files of the machine, where mediapipe and they are there; else the test is skipped."""

import importlib.util
import os
from pathlib import Path

import pytest

from preparation.models.mediapipe_networks import check_mediapipe
from preparation.models.model_files import Model
from utils.downloads import cache_folder
from utils.errors import UserError


def local(model: Model) -> Path:
    """The path of a model, in GAUSSIANHEAD_MODELS or the cache."""
    folder = Path(os.environ.get("GAUSSIANHEAD_MODELS") or cache_folder())
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("needs mediapipe: pip install -r requirements-prepare.txt")
    if not (folder / model.name).is_file():
        pytest.skip(f"needs {model.name} in GAUSSIANHEAD_MODELS or the cache")
    try:
        check_mediapipe()
    except UserError as error:
        pytest.skip(str(error))
    return folder / model.name
