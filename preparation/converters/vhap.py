"""VHAP's export, which is GaussianAvatars' data set as well: any number of synchronised cameras.

transforms.json, or transforms_train, _val and _test.json, whose paths may lead to folders beside this one:
camera-to-world with OpenGL axes, metres; of each frame timestep_index, camera_index, fl_x fl_y cx cy,
file_path, fg_mask_path, and flame_param_path (.npz: expr, jaw_pose, eyes_pose, neck_pose, rotation,
translation), or exp_path and mesh_path.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.converters.files import (
    frames_of,
    inside,
    matrix,
    number_in,
    read_npz,
    read_numbers,
    size_told,
    split_files,
    vector,
)
from preparation.converters.flame_pose import FlameMotion, poses_of_meshes, with_flame_motion
from preparation.converters.record import (
    ForeignClip,
    ForeignFrame,
    Picture,
    intrinsics_of,
    numbered_names,
    opencv_from_opengl,
)
from utils.errors import UserError
from utils.progress import track

# Rotation vectors and metres.
_RIGID = ("rotation", "neck_pose", "translation")
# What becomes of FLAME's arrays: names in ours, and their lengths where they are fixed.
_COEFFICIENTS = {
    "exp": ("expr", None),
    "jaw": ("jaw_pose", 3),
    "eyes": ("eyes_pose", 6),
    "neck": ("neck_pose", 3),
}


class _Entry(NamedTuple):
    document: Path
    shared: dict
    frame: dict
    # Sequence, moment, camera: what a picture is sorted by.
    place: tuple[int, int, str]


class _Step(NamedTuple):
    """One moment, which all cameras see."""

    expression: np.ndarray
    parameters: dict[str, np.ndarray] | None
    sizes: dict[str, int]


def read_vhap(root: Path, quiet: bool = True) -> ForeignClip:
    """Read all pictures of all cameras; moments follow one another, cameras within them. Raises UserError."""
    entries = _entries(root)
    steps, rows, frames = {}, [], []
    for number, entry in enumerate(track(entries, len(entries), "reading frames", quiet=quiet)):
        path = _step_path(root, entry)
        if path not in steps:
            steps[path] = (len(steps), _read_step(path))
        row, step = steps[path]
        rows.append(row)
        frames.append(_frame(root, number, entry, path, step))
    clip = ForeignClip(frames, numbered_names(**next(iter(steps.values()))[1].sizes))
    cameras = {entry.place[2] for entry in entries}
    if len(cameras) > 1:
        moments = {entry.place[:2] for entry in entries}
        clip = clip._replace(notes=(f"{len(cameras)} cameras, {len(moments)} moments: img_id is time",))
    if all("mesh_path" in entry.frame for entry in entries):
        return _with_meshes(root, clip, entries, quiet)
    if any(step.parameters is None for _, step in steps.values()):
        raise UserError(f"{root}: frames have neither flame_param_path nor mesh_path; expected one of them")
    parameters = [step.parameters for _, step in steps.values()]
    motion = FlameMotion.from_vectors(*([p[key] for p in parameters] for key in _RIGID))
    return with_flame_motion(clip, motion, rows, quiet)


def _entries(root: Path) -> list[_Entry]:
    """The pictures of transforms.json, or of the split's files, each once."""
    paths = split_files(root)
    if not paths:
        raise UserError(f"{root / 'transforms.json'}: missing; expected a data set as VHAP exports it")
    entries, seen, sequences = [], set(), {}
    for path in paths:
        document, frames = frames_of(path)
        for frame in frames:
            image = inside(root, frame, "file_path", path)
            if image.resolve() in seen and len(paths) > 1:
                continue
            seen.add(image.resolve())
            moment = frame.get("timestep_index")
            if type(moment) is not int:
                raise UserError(f"{path}: {image.name}: timestep_index: expected an integer")
            sequence = sequences.setdefault(image.parent.resolve(), len(sequences))
            camera = frame.get("camera_index", frame.get("camera_id", 0))
            place = (sequence, moment, f"{camera:08d}" if type(camera) is int else str(camera))
            entries.append(_Entry(path, document, frame, place))
    if not entries:
        raise UserError(f"{paths[0]}: frames: empty")
    entries.sort(key=lambda entry: entry.place)
    for one, other in pairwise(entries):
        if one.place == other.place:
            name = one.frame["file_path"]
            raise UserError(f"{one.document}: frame {name} is there more than once; expected once")
    return entries


def _step_path(root: Path, entry: _Entry) -> Path:
    key = "flame_param_path" if "flame_param_path" in entry.frame else "exp_path"
    if key not in entry.frame:
        raise UserError(f"{entry.document}: {entry.frame['file_path']}: flame_param_path: missing")
    return inside(root, entry.frame, key, entry.document)


def _read_step(path: Path) -> _Step:
    if path.suffix != ".npz":
        expression = read_numbers(path)
        return _Step(expression, None, {"exp": len(expression)})
    arrays = read_npz(path, *_RIGID, *(key for key, _ in _COEFFICIENTS.values()))
    parts = {name: vector(arrays, key, path, length) for name, (key, length) in _COEFFICIENTS.items()}
    sizes = {name: len(values) for name, values in parts.items()}
    rigid = {key: vector(arrays, key, path, 3) for key in _RIGID}
    return _Step(np.concatenate(list(parts.values())), rigid, sizes)


def _frame(root: Path, number: int, entry: _Entry, path: Path, step: _Step) -> ForeignFrame:
    frame, document = entry.shared | entry.frame, entry.document
    image = inside(root, frame, "file_path", document)
    matte = inside(root, frame, "fg_mask_path", document) if frame.get("fg_mask_path") else None
    numbers = [vector(frame, key, document, 1)[0] for key in ("fl_x", "fl_y", "cx", "cy")]
    return ForeignFrame(
        number,
        Picture(image),
        Picture(matte) if matte else None,
        (document, path),
        opencv_from_opengl(matrix(frame, "transform_matrix", document)),
        step.expression,
        intrinsics_of(*numbers),
        size_told=size_told(frame, document),
    )


def _with_meshes(root: Path, clip: ForeignClip, entries: list[_Entry], quiet: bool) -> ForeignClip:
    """The clip with head poses by a rigid fit of the exported meshes."""
    meshes = [inside(root, entry.frame, "mesh_path", entry.document) for entry in entries]
    paths = sorted(set(meshes), key=lambda path: (str(path.parent), number_in(path.name)))
    canonical = root / "canonical.obj"
    poses = poses_of_meshes(paths, canonical if canonical.is_file() else None, quiet)
    rows = {path: row for row, path in enumerate(paths)}
    frames = [
        frame._replace(world_to_camera=frame.world_to_camera @ poses[rows[mesh]])
        for frame, mesh in zip(clip.frames, meshes, strict=True)
    ]
    how = f"a rigid fit of {len(paths)} exported meshes"
    return clip._replace(frames=frames, head_pose=how, notes=(*clip.notes, f"head poses: {how}"))
