import hashlib
import urllib.error
import urllib.request

import numpy as np
import pytest

from parametric_head import model_file, packing
from parametric_head.model import content_digest, load_head
from parametric_head.model_file import FILE_NAME, LICENCE_NAME, find_head, originals_sha256
from tests.parametric_head.obj_files import published_files, small_layout
from tests.parametric_head.real_head import real_file
from tests.parametric_head.small_head import small_head
from utils.errors import UserError

FILES = published_files()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAUSSIANHEAD_MODELS", raising=False)
    return tmp_path / "cache/gaussianhead"


@pytest.fixture(scope="module")
def packed() -> dict[str, np.ndarray]:
    """The arrays of the small head as it is published."""
    neutral = packing.read_mesh(FILES["generic_neutral_mesh.obj"])
    shapes = {
        name.removesuffix(".obj"): packing.pack_shape(content, neutral.vertices, small_layout())
        for name, content in FILES.items()
        if name.endswith(".obj")
    }
    identity = [shapes[f"identity{index:03}"] for index in range(3)]
    names = [name for name in shapes if not name.startswith(("identity", "generic"))]
    return packing.pack(
        neutral,
        {"expressions": names, "idx_to_landmark_verts": small_head().landmarks68.tolist()},
        identity,
        shapes,
        small_layout(),
    )


@pytest.fixture
def published(monkeypatch, packed):
    """The small head is what is published: its layout, digests, files."""
    layout = small_layout()
    monkeypatch.setattr(model_file, "PACKED_DIGEST", content_digest(packed))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(model_file, "originals_sha256", lambda: digests)
    monkeypatch.setattr(
        model_file, "pack_shape", lambda content, neutral: packing.pack_shape(content, neutral, layout)
    )
    monkeypatch.setattr(model_file, "pack", lambda *arguments: packing.pack(*arguments, layout))


@pytest.fixture
def server(monkeypatch, published):
    """What downloads give, by name, and what was asked for; an exception is raised."""
    answers, asked = dict(FILES), []

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
        folder, _, name = url.rpartition("/")
        assert folder.endswith("/ICT-FaceKit/da5f95a607f5e6b37755b38d3385d7f2853732e5/FaceXModel")
        asked.append(name)
        if isinstance(answers[name], Exception):
            raise answers[name]
        return Answer(answers[name])

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    answers["asked"] = asked
    return answers


def write_originals(folder) -> None:
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def test_a_missing_model_is_downloaded_and_packed_once(server, cache):
    path = find_head(quiet=True)
    assert path == cache / FILE_NAME
    assert sorted(server["asked"]) == sorted(FILES)
    head = load_head(path)
    np.testing.assert_allclose(head.neutral, small_head().neutral, rtol=1e-6)
    server["asked"].clear()
    assert find_head(quiet=True) == path and not server["asked"]


def test_only_the_packed_file_and_its_licence_remain(server, cache):
    find_head(quiet=True)
    assert sorted(path.name for path in cache.iterdir()) == sorted([FILE_NAME, LICENCE_NAME])
    licence = (cache / LICENCE_NAME).read_text()
    assert "ICT-FaceKit" in licence and "MIT" in licence and "Anyone may use it." in licence
    with np.load(cache / FILE_NAME) as stored:
        assert str(stored["licence"]) == licence


def test_a_broken_download_goes_on_where_it_broke(server, cache):
    # The last in the list: those before it were downloaded and kept.
    last = list(FILES)[-1]
    server[last] = urllib.error.URLError("connection reset")
    with pytest.raises(UserError, match="connection reset"):
        find_head(quiet=True)
    assert not (cache / FILE_NAME).exists()
    server["asked"].clear()
    server[last] = FILES[last]
    find_head(quiet=True)
    assert sorted(server["asked"]) == sorted(["generic_neutral_mesh.obj", "vertex_indices.json", last])


def test_a_download_that_fails_once_is_tried_again(server, monkeypatch):
    urlopen, failed = urllib.request.urlopen, []

    def failing_once(url: str, timeout: float):
        if not failed:
            failed.append(url)
            raise urllib.error.URLError("timed out")
        return urlopen(url, timeout)

    monkeypatch.setattr(urllib.request, "urlopen", failing_once)
    assert find_head(quiet=True).is_file() and failed


def test_offline_the_address_is_said(server, cache):
    server["generic_neutral_mesh.obj"] = urllib.error.URLError("no route to host")
    message = (
        r"generic_neutral_mesh.obj cannot be downloaded \(no route to host\); "
        r"fetch https://github.com/ICT-VGL/.*--models"
    )
    with pytest.raises(UserError, match=message) as raised:
        find_head(quiet=True)
    assert "\n" not in str(raised.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_an_original_with_the_wrong_content_is_refused(server, cache):
    server["jawOpen.obj"] += b"v 0 0 0\n"
    with pytest.raises(UserError, match=r"jawOpen.obj: SHA-256 .* damaged or another version"):
        find_head(quiet=True)
    assert not (cache / FILE_NAME).exists()


def test_pieces_of_another_version_are_not_kept(server, cache):
    last = list(FILES)[-1]
    server[last] = urllib.error.URLError("connection reset")
    with pytest.raises(UserError):
        find_head(quiet=True)
    server[last] = FILES[last]
    piece = next(cache.glob("*.pieces/*.npy"))
    np.save(piece, np.load(piece) + np.float16(1))
    with pytest.raises(UserError, match=r"SHA-256 .* try again"):
        find_head(quiet=True)
    assert find_head(quiet=True).is_file()


def test_a_folder_that_is_named_is_only_read(tmp_path, published, packed, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(UserError, match=r"ict_head.npz: missing; --models names this folder.*FaceXModel of"):
        find_head(folder)
    np.savez_compressed(folder / FILE_NAME, **packed)
    assert find_head(folder) == folder / FILE_NAME
    monkeypatch.setenv("GAUSSIANHEAD_MODELS", str(folder))
    assert find_head() == folder / FILE_NAME


@pytest.mark.parametrize("inside", ["FaceXModel", "."])
def test_a_folder_of_originals_is_packed_into_the_cache(tmp_path, published, cache, inside):
    folder = tmp_path / "models"
    write_originals(folder / inside)
    before = sorted(folder.rglob("*"))
    assert find_head(folder, quiet=True) == cache / FILE_NAME
    assert sorted(folder.rglob("*")) == before
    assert (cache / LICENCE_NAME).is_file()


def test_an_original_that_is_missing_is_named(tmp_path, published):
    folder = tmp_path / "models"
    write_originals(folder / "FaceXModel")
    (folder / "FaceXModel/jawOpen.obj").unlink()
    with pytest.raises(UserError, match=r"FaceXModel/jawOpen.obj: cannot be read"):
        find_head(folder, quiet=True)


def test_a_packed_file_of_other_content_is_refused(tmp_path, published, packed):
    np.savez_compressed(tmp_path / FILE_NAME, **packed | {"neutral": packed["neutral"] + 1})
    with pytest.raises(UserError, match=r"SHA-256 .* damaged or another version; remove it"):
        find_head(tmp_path)


@pytest.mark.parametrize("keep", [0, 1000])
def test_a_truncated_packed_file_is_refused(tmp_path, published, packed, keep):
    path = tmp_path / FILE_NAME
    np.savez_compressed(path, **packed)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"ict_head.npz: damaged, or no packed head model"):
        find_head(tmp_path)


def test_originals_are_pinned():
    digests = originals_sha256()
    assert len(digests) == 2 + 50 + 53
    assert all(len(digest) == 64 for digest in digests.values())
    assert [name for name in digests if name.startswith("identity")] == [
        f"identity{i:03}.obj" for i in range(50)
    ]


def test_the_real_packed_file_has_the_pinned_content():
    path = real_file(FILE_NAME)
    assert find_head(path.parent) == path


def test_the_real_originals_have_the_pinned_content():
    digests = originals_sha256()
    for path in real_file("ict_originals").iterdir():
        if path.name in digests:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digests[path.name]
