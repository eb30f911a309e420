import hashlib
import urllib.request

import pytest

from preparation.models import model_files
from preparation.models.model_files import Model, find_model
from utils.errors import UserError

CONTENT = b"weights"
MODEL = Model(
    "net.tflite", "https://example.org/net.tflite", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAUSSIANHEAD_MODELS", raising=False)
    return tmp_path / "cache/gaussianhead"


@pytest.fixture
def server(monkeypatch):
    """What a download gives; an exception is raised."""
    answers = {MODEL.url: CONTENT}

    class Answer:
        def __init__(self, content: bytes) -> None:
            self._chunks = [content, b""]

        def read(self, size: int) -> bytes:
            return self._chunks.pop(0)

        def __enter__(self):
            return self

        def __exit__(self, *exception: object) -> None:
            pass

    def urlopen(url: str, timeout: float) -> Answer:
        if isinstance(answers[url], Exception):
            raise answers[url]
        return Answer(answers[url])

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return answers


def test_a_missing_model_is_downloaded_once(server, cache):
    assert find_model(MODEL, quiet=True) == cache / MODEL.name
    server.clear()
    assert find_model(MODEL, quiet=True).read_bytes() == CONTENT


def test_a_download_with_the_wrong_content_leaves_nothing(server, cache):
    server[MODEL.url] = b"something else"
    with pytest.raises(UserError, match="SHA-256"):
        find_model(MODEL, quiet=True)
    assert not list(cache.iterdir())


def test_offline_the_address_is_said(server):
    server[MODEL.url] = urllib.error.URLError("no route to host")
    with pytest.raises(UserError, match=r"cannot be downloaded \(no route to host\).*example.org.*--models"):
        find_model(MODEL, quiet=True)


def test_a_folder_that_is_named_is_only_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"missing; --models names this folder, fetch https://example\.org"):
        find_model(MODEL, tmp_path)
    (tmp_path / MODEL.name).write_bytes(CONTENT)
    assert find_model(MODEL, tmp_path) == tmp_path / MODEL.name
    monkeypatch.setenv("GAUSSIANHEAD_MODELS", str(tmp_path))
    assert find_model(MODEL) == tmp_path / MODEL.name


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / MODEL.name).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="SHA-256"):
        find_model(MODEL, tmp_path)


@pytest.mark.parametrize(
    "model", [model_files.FACE_LANDMARKER, model_files.SELFIE_SEGMENTATION, model_files.SELFIE_MULTICLASS]
)
def test_models_are_pinned(model):
    assert len(model.sha256) == 64 and model.url.startswith("https://") and model.name in model.url
