from pathlib import Path
from types import SimpleNamespace

import pytest

from arguments import PreparationParams
from preparation.models import chosen_networks
from preparation.models.chosen_networks import find_networks
from preparation.models.model_files import FACE_LANDMARKER, SELFIE_MULTICLASS, SELFIE_SEGMENTATION, Model
from utils.errors import UserError

FOLDER = Path("weights")
HEAD = SimpleNamespace(name="ict_head.npz")


@pytest.fixture
def files(monkeypatch) -> list[Model]:
    """The models that can be had."""
    models = [FACE_LANDMARKER, SELFIE_SEGMENTATION, SELFIE_MULTICLASS, HEAD]

    def find(model: Model, folder: Path, quiet: bool) -> Path:
        if model not in models:
            raise UserError(f"{model.name}: cannot be downloaded")
        return folder / model.name

    monkeypatch.setattr(chosen_networks, "check_mediapipe", lambda: None)
    monkeypatch.setattr(chosen_networks, "find_model", find)
    monkeypatch.setattr(chosen_networks, "find_head", lambda folder, quiet: find(HEAD, folder, quiet))
    monkeypatch.setattr(chosen_networks, "load_head", lambda path: path)
    monkeypatch.setattr(chosen_networks, "landmark_places", lambda *files: files)
    for name in ("MediaPipeFaceTracker", "MediaPipeSegmenter"):
        monkeypatch.setattr(chosen_networks, name, lambda path: path)
    return models


def test_mediapipes_networks_are_made_from_their_files(files):
    networks = find_networks(PreparationParams(models=FOLDER))
    assert networks.face_tracker() == FOLDER / FACE_LANDMARKER.name
    assert networks.matting() == FOLDER / SELFIE_SEGMENTATION.name
    assert networks.classes() == FOLDER / SELFIE_MULTICLASS.name
    assert networks.names == {
        "landmarks": FACE_LANDMARKER.name,
        "matting": SELFIE_SEGMENTATION.name,
        "parsing": SELFIE_MULTICLASS.name,
        "head": "ICT-FaceKit light",
    }


def test_the_head_model_is_read_when_it_is_needed(files):
    head, places = find_networks(PreparationParams(models=FOLDER)).head()
    assert head == FOLDER / HEAD.name
    # The landmarks' places are found by the canonical face in MediaPipe's file.
    assert places == (head, FOLDER / FACE_LANDMARKER.name)


def test_auto_does_without_the_head_model_and_says_so_in_one_line(files, capsys):
    files.remove(HEAD)
    networks = find_networks(PreparationParams(models=FOLDER))
    assert networks.head is None and networks.names["head"] == "none"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("note: tracking landmarks alone, without a head model: ict_head.npz")
    find_networks(PreparationParams(models=FOLDER, quiet=True))
    assert capsys.readouterr().err == ""


def test_a_head_model_that_is_insisted_on_must_be_there(files):
    assert find_networks(PreparationParams(models=FOLDER, tracker="head")).head is not None
    files.remove(HEAD)
    for insisting in ({"tracker": "head"}, {"parsing": "head"}):
        with pytest.raises(UserError, match="ict_head"):
            find_networks(PreparationParams(models=FOLDER, **insisting))


def test_no_head_model_is_looked_for_where_landmarks_are_tracked(files, capsys):
    files.remove(HEAD)
    networks = find_networks(PreparationParams(models=FOLDER, tracker="landmarks"))
    assert networks.head is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("parsing", "name"),
    [("color", "jaw line and colours"), ("head", "head model and colours"), ("none", "none")],
)
def test_no_parsing_network_is_looked_for_where_none_is_wanted(files, parsing, name):
    files.remove(SELFIE_MULTICLASS)
    networks = find_networks(PreparationParams(models=FOLDER, parsing=parsing))
    assert networks.classes is None
    assert networks.names["parsing"] == name


def test_auto_does_without_the_parsing_network_and_says_so(files, capsys):
    files.remove(SELFIE_MULTICLASS)
    networks = find_networks(PreparationParams(models=FOLDER))
    assert networks.classes is None and networks.names["parsing"] == "head model and colours"
    assert "note: parsing without a network: selfie_multi" in capsys.readouterr().err
    find_networks(PreparationParams(models=FOLDER, quiet=True))
    assert capsys.readouterr().err == ""


def test_a_parsing_network_that_is_insisted_on_must_be_there(files):
    files.remove(SELFIE_MULTICLASS)
    with pytest.raises(UserError, match="selfie_multiclass"):
        find_networks(PreparationParams(models=FOLDER, parsing="network"))
