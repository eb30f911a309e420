"""The head model's packed file: found, or fetched once and packed; its content checked.

`--models DIR`, or GAUSSIANHEAD_MODELS, may hold the packed file, or the originals (ICT-FaceKit's folder
FaceXModel, or its files themselves); it is only read. Else the packed file stands in the user's cache, its
licence beside it. Where it is missing there, 105 files of 2.6 MB (50 of 100 identity shapes) are downloaded
at a pinned commit, a few at a time; of each only its packed shape is kept, so that a broken download goes on
where it broke.
"""

import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from parametric_head.model import ARRAYS, NAME, content_digest
from parametric_head.packing import ObjMesh, pack, pack_shape, read_licence, read_mesh
from utils.downloads import cache_folder, check_sha256, named_folder, read_url, wrong_digest
from utils.errors import UserError
from utils.files import replacing, write_text
from utils.progress import Progress

FILE_NAME = "ict_head.npz"
LICENCE_NAME = "ICT-FaceKit-LICENSE.txt"
PACKED_DIGEST = "586bba310c11f05ed6a4a6286cfcd97a745ab24132f17079414b08b5961f8d68"
_COMMIT = "da5f95a607f5e6b37755b38d3385d7f2853732e5"
_REPOSITORY = "https://github.com/ICT-VGL/ICT-FaceKit"
_FOLDER = "FaceXModel"
_URL = f"https://raw.githubusercontent.com/ICT-VGL/ICT-FaceKit/{_COMMIT}/{_FOLDER}"
_REMEDY = f"fetch {_REPOSITORY}/tree/{_COMMIT}/{_FOLDER} elsewhere and name the folder by --models"
_NEUTRAL, _INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"
_DOWNLOADS_AT_ONCE = 4
_ATTEMPTS = 3

# Gives the content of an original by its file name.
Source = Callable[[str], bytes]


def find_head(folder: Path | None = None, quiet: bool = False) -> Path:
    """Return the path of the packed head model, its content right; fetch and pack it where it is missing.

    Raises UserError of one line that says what is missing or wrong, and how to have it otherwise.
    """
    named, cached = named_folder(folder), cache_folder() / FILE_NAME
    if named:
        path = named.path / FILE_NAME
        originals = _originals_in(named.path)
        if not path.is_file() and not originals:
            raise UserError(
                f"{path}: missing; {named.flag} names this folder, put it there, or {_FOLDER} of "
                f"{_REPOSITORY} at commit {_COMMIT[:7]}"
            )
    else:
        path, originals = cached, None
    if path.is_file():
        _check(path)
        return path
    if cached.is_file():
        _check(cached)
    elif originals:
        _make(cached, lambda name: _read_original(originals / name), "packing", quiet)
    else:
        _make(cached, _download, "downloading", quiet)
    return cached


def originals_sha256() -> dict[str, str]:
    """The SHA-256 of every original that is packed, by file name."""
    lines = Path(__file__).with_name("ict_facekit.sha256").read_text().splitlines()
    return {name: digest for digest, name in map(str.split, lines)}


def _originals_in(folder: Path) -> Path | None:
    return next((path for path in (folder / _FOLDER, folder) if (path / _NEUTRAL).is_file()), None)


def _read_original(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); needed to pack {NAME}") from None


def _download(name: str) -> bytes:
    for attempt in range(_ATTEMPTS):
        try:
            return b"".join(read_url(f"{_URL}/{name}"))
        except UserError as error:
            if attempt == _ATTEMPTS - 1:
                raise UserError(f"{NAME}: {name} {error}; {_REMEDY}") from None
    raise AssertionError("the last attempt returns or raises")


def _make(path: Path, source: Source, verb: str, quiet: bool) -> None:
    """Pack all originals into `path`, and write their licence beside it."""
    digests = originals_sha256()

    def checked(name: str) -> bytes:
        content = source(name)
        check_sha256(content, digests[name], name, _REMEDY)
        return content

    with Progress(len(digests), f"{verb} {NAME} (files)", quiet=quiet) as progress:
        content, indices = checked(_NEUTRAL), json.loads(checked(_INDICES))
        neutral = read_mesh(content)
        progress.update(2)
        names = [name for name in digests if name not in (_NEUTRAL, _INDICES)]
        pieces = path.with_name(f"{path.stem}.pieces")
        shapes = {}
        for name, shape in _shapes(names, checked, neutral, pieces):
            shapes[name.removesuffix(".obj")] = shape
            progress.update()
    identity = [shapes.pop(name) for name in sorted(shapes) if name.startswith("identity")]
    arrays = pack(neutral, indices, identity, shapes)
    # Before the check: pieces of another version must not come back.
    shutil.rmtree(pieces, ignore_errors=True)
    digest = content_digest(arrays)
    if digest != PACKED_DIGEST:
        raise wrong_digest(digest, PACKED_DIGEST, path, "try again")
    licence = f"{NAME}, {_REPOSITORY}, commit {_COMMIT}\nMIT License\n\n{read_licence(content)}"
    write_text(path.with_name(LICENCE_NAME), licence)
    with replacing(path) as partial:
        np.savez_compressed(partial, **arrays, licence=np.array(licence))


def _shapes(
    names: list[str], source: Source, neutral: ObjMesh, pieces: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every name with its packed shape, which is kept in `pieces` until all are there."""

    def shape(name: str) -> np.ndarray:
        piece = pieces / f"{name}.npy"
        if piece.is_file():
            return np.load(piece, allow_pickle=False)
        packed = pack_shape(source(name), neutral.vertices)
        with replacing(piece) as partial:
            np.save(partial, packed)
        return packed

    executor = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
    try:
        yield from zip(names, executor.map(shape, names))
    finally:
        # After a failure, or Ctrl-C, what has not begun does not begin.
        executor.shutdown(cancel_futures=True)


def _check(path: Path) -> None:
    remedy = f"remove it, or put {_FOLDER} of {_REPOSITORY} at commit {_COMMIT[:7]} there"
    try:
        with np.load(path, allow_pickle=False) as stored:
            digest = content_digest({name: stored[name] for name in ARRAYS})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged, or no packed head model ({error}); {remedy}") from None
    if digest != PACKED_DIGEST:
        raise wrong_digest(digest, PACKED_DIGEST, path, remedy)
