"""Files of others, read without running anything: JSON, .npz without pickles, torch files, meshes."""

import re
import zipfile
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.json_files import read_bounded, read_json

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Bytes; a tracker writes 2 million a frame.
_LARGEST_UNPACKED = 1 << 28
_PLY_TYPES = {
    "float": "<f4",
    "float32": "<f4",
    "double": "<f8",
    "float64": "<f8",
    "uchar": "u1",
    "uint8": "u1",
}
_PLY_TYPES |= {"char": "i1", "int8": "i1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"}


def split_files(root: Path) -> list[Path]:
    """transforms.json, else those of transforms_train, _val and _test.json that are there."""
    whole = root / "transforms.json"
    if whole.is_file():
        return [whole]
    paths = (root / f"transforms_{name}.json" for name in ("train", "val", "test"))
    return [path for path in paths if path.is_file()]


def number_in(name: str) -> int:
    """The last number in a file's name. Raises ValueError."""
    digits = re.findall(r"\d+", Path(name).stem)
    if not digits:
        raise ValueError(f"{name}: no number in the name")
    return int(digits[-1])


def numbered(folder: Path, pattern: str) -> list[Path]:
    """The files that match, by their numbers; those without one are left out, and hidden ones, as macOS has
    them beside others (._1.png)."""
    paths = [path for path in folder.glob(pattern) if re.search(r"\d", path.stem)]
    paths = [path for path in paths if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: (number_in(path.name), path.name))


def pictures_by_number(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by the last number in their names."""
    paths = (path for path in numbered(folder, "*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return {number_in(path.name): path for path in paths}


def picture_named(folder: Path, stem: str) -> Path | None:
    """The picture of this name, its suffix in small letters or in capitals; None where there is none."""
    suffixes = [spelled for suffix in PICTURE_SUFFIXES for spelled in (suffix, suffix.upper())]
    places = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((place for place in places if place.is_file()), None)


def slashed(name: str) -> str:
    """A path as Windows writes it, too."""
    return name.replace("\\", "/")


def inside(root: Path, entry: dict, key: str, document: Path) -> Path:
    """A file that a document names, in its folder or one beside it. Raises UserError where it is missing."""
    name = entry.get(key)
    if not isinstance(name, str) or "\0" in name:
        found = "none" if name is None else repr(str(name)[:40])
        raise UserError(f"{document}: {key}: expected the name of a file, found {found}")
    path = root / slashed(name)
    if not path.resolve().is_relative_to(root.resolve().parent):
        raise UserError(f"{document}: {name}: leads out of the data set and the folders beside it")
    if not path.is_file():
        raise UserError(f"{path}: missing; {document.name} names it")
    return path


def frames_of(path: Path) -> tuple[dict, list[dict]]:
    """A JSON document and its `frames`. Raises UserError."""
    document = read_json(path)
    frames = document.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise UserError(f"{path}: frames: expected a list of objects")
    return document, frames


def read_npz(path: Path, *keys: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, all or those named and there; one with pickled objects is refused."""
    _refuse_bomb(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {key: file[key] for key in file.files if not keys or key in keys}
    except Exception as error:
        # numpy and zipfile raise many kinds for damaged files.
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: cannot be read as arrays: {reason}") from None


def vector(arrays: dict, key: str, path: Path, length: int | None = None) -> np.ndarray:  # [length]
    """An array of numbers as a vector. Raises UserError where it is missing or of another length."""
    try:
        values = np.asarray(arrays[key], np.float64).ravel()
    except KeyError:
        raise UserError(f"{path}: {key}: missing; expected numbers") from None
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{path}: {key}: expected numbers") from None
    if length is not None and len(values) != length:
        raise UserError(f"{path}: {key}: expected {length} numbers, found {len(values)}")
    if not np.isfinite(values).all():
        raise UserError(f"{path}: {key}: expected finite numbers, found NaN or infinity")
    return values


def size_told(entry: dict, path: Path) -> tuple[int, int] | None:
    """Width and height of the pictures that an entry's intrinsics are told for; None where it has none."""
    if entry.get("w") is None or entry.get("h") is None:
        return None
    width, height = (round(vector(entry, key, path, 1)[0]) for key in ("w", "h"))
    return width, height


def read_numbers(path: Path) -> np.ndarray:  # [N]
    """A text file of numbers. Raises UserError."""
    try:
        values = np.array(read_bounded(path).split(), np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected numbers ({error})") from None
    if not len(values):
        raise UserError(f"{path}: expected numbers, found none")
    return values


def matrix(entry: dict, key: str, path: Path, rows: int = 4, columns: int = 4) -> np.ndarray:  # [4, 4]
    """A matrix of a document, brought to 4 x 4. Raises UserError."""
    try:
        values = np.array(entry[key], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.shape not in ((rows, columns), (4, 4)):
        found = f"shape {list(values.shape)}" if values.size else "none"
        raise UserError(f"{path}: {key}: expected {rows} x {columns} numbers, found {found}")
    full = np.eye(4)
    full[: len(values)] = values
    return full


def load_torch_arrays(path: Path) -> dict:
    """Load a torch file of numpy arrays and numbers; anything else in it is refused, nothing is run."""
    import torch

    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float32(0).__reduce__()[0]
    # As numpy 1 and 2 name them.
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        arrays += [(reconstruct, f"{module}._reconstruct"), (scalar, f"{module}.scalar")]
    _refuse_bomb(path)
    try:
        with torch.serialization.safe_globals(arrays):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises several kinds for damaged and for foreign files.
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: cannot be read as arrays: {reason}") from None


def _refuse_bomb(path: Path) -> None:
    """Refuse an .npz or torch file, which is a ZIP, that unpacks to more than any has. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        # Of an older kind, which nothing unpacks; what is wrong is said by who reads it.
        return
    if size > _LARGEST_UNPACKED:
        raise UserError(f"{path}: unpacks to {size} bytes; expected at most {_LARGEST_UNPACKED}")


def read_vertices(path: Path) -> np.ndarray:  # [V, 3] float64
    """The vertices of an .obj or .ply file (ascii or binary, little endian). Raises UserError."""
    try:
        data = read_bounded(path)
        found = _ply_vertices(data) if path.suffix == ".ply" else _obj_vertices(data)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path}: cannot be read as a mesh ({error})") from None
    if not len(found) or not np.isfinite(found).all():
        raise UserError(f"{path}: expected a mesh with finite vertices")
    return found


def _obj_vertices(data: bytes) -> np.ndarray:
    lines = [line.split()[1:4] for line in data.splitlines() if line.startswith(b"v ")]
    return np.array(lines, np.float64).reshape(-1, 3)


def _ply_vertices(data: bytes) -> np.ndarray:
    header, separator, body = data.partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    if not separator or lines[0] != ["ply"]:
        raise ValueError("no PLY header")
    kind = next(line[1] for line in lines if line[:1] == ["format"])
    first = next(i for i, line in enumerate(lines) if line[:1] == ["element"])
    if lines[first][1] != "vertex":
        raise ValueError("vertices are not the first element")
    count, fields = int(lines[first][2]), []
    for line in lines[first + 1 :]:
        if line[:1] != ["property"]:
            break
        fields.append((line[2], _PLY_TYPES[line[1]]))
    if kind == "ascii":
        rows = np.array([line.split() for line in body.splitlines()[:count]], np.float64)
        table = dict(zip((name for name, _ in fields), rows.T, strict=False))
    elif kind == "binary_little_endian":
        table = np.frombuffer(body, np.dtype(fields), count)
    else:
        raise ValueError(f"format {kind}")
    return np.stack([np.asarray(table[axis], np.float64) for axis in "xyz"], axis=-1)
