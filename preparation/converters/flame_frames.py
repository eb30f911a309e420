"""Trackers that write a file for each frame, with the pictures beside them.

metrical-tracker    <id>.frame, in checkpoint/ or here: a torch file of arrays, flame and opencv {R, t, K}
flame-head-tracker  <id>.npz: exp, jaw_pose, neck_pose, eye_pose, head_pose, K (of 256 pixels), img, parsing
                    (labels) and cam: yaw, pitch, roll and place, camera-to-world with OpenGL axes

Pictures are images/, input/ or imgs/<id>.png or .jpg, or n from 1 as FlashAvatar's; mattes are their alpha,
or mask/, alpha/, matte/ or fg_masks/ with the same names; an .npz without one has what its parsing labels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.converters.files import (
    load_torch_arrays,
    number_in,
    numbered,
    picture_named,
    pictures_by_number,
    read_npz,
    vector,
)
from preparation.converters.flame_pose import FlameMotion, with_flame_motion
from preparation.converters.record import (
    ForeignClip,
    ForeignFrame,
    Picture,
    head_of_labels,
    numbered_names,
    opencv_from_opengl,
)
from utils.errors import UserError
from utils.progress import track
from utils.so3 import exp_so3

_IMAGE_FOLDERS, _MATTE_FOLDERS = ("images", "input", "imgs", "."), ("mask", "alpha", "matte", "fg_masks")
# Pixels, of the pictures that flame-head-tracker's K is told for.
_K_SIDE = 256
_ARRAYS = {"exp": ("exp", None), "jaw": ("jaw_pose", 3), "eyes": ("eye_pose", 6), "neck": ("neck_pose", 3)}


class MetricalFrame(NamedTuple):
    """What metrical-tracker says of a frame; metres, OpenCV axes."""

    world_to_camera: np.ndarray  # [4, 4]
    expression: np.ndarray  # [E]
    intrinsics: np.ndarray  # [3, 3]
    sizes: dict[str, int]


def read_metrical_frame(path: Path) -> MetricalFrame:
    """Read one .frame. Raises UserError."""
    payload = load_torch_arrays(path)
    if isinstance(payload, dict) and "joint_transforms" in payload and "opencv" not in payload:
        raise UserError(
            f"{path}: of Pixel3DMM, whose cameras are not read; track the video by prepare.py VIDEO OUT"
        )
    try:
        flame, opencv = payload["flame"], payload["opencv"]
        parts = {name: np.ravel(flame[name]) for name in ("exp", "eyes", "eyelids", "jaw")}
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.asarray(opencv["R"])[0], np.asarray(opencv["t"])[0]
        intrinsics = np.asarray(opencv["K"], np.float64)[0].reshape(3, 3)
        expression = np.concatenate(list(parts.values())).astype(np.float64)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not as the metrical tracker writes it ({error!r})") from None
    return MetricalFrame(pose, expression, intrinsics, {name: len(values) for name, values in parts.items()})


def read_flame_frames(root: Path, quiet: bool = True) -> ForeignClip:
    """Read the files of either tracker. Raises UserError."""
    for folder in (root / "checkpoint", root):
        if paths := numbered(folder, "*.frame"):
            return _read_metrical(root, paths, quiet)
    paths = numbered(root, "*.npz")
    if not paths:
        raise UserError(
            f"{root}: neither <id>.frame (here or in checkpoint/) nor <id>.npz; expected one a frame"
        )
    return _read_arrays(root, paths, quiet)


def _read_metrical(root: Path, paths: list[Path], quiet: bool) -> ForeignClip:
    find = _Pictures(root, number_in(paths[0].name))
    frames, sizes = [], {}
    for path in track(paths, len(paths), "reading frames", quiet=quiet):
        number = number_in(path.name)
        image = find.image(number)
        # The tracker is a frame ahead of the pictures at the end.
        if image is None and path == paths[-1]:
            continue
        if image is None:
            raise UserError(f"{path}: its picture is missing; expected {find.expected(number)}")
        tracked = read_metrical_frame(path)
        sizes = tracked.sizes
        frames.append(ForeignFrame(
            number, Picture(image), find.matte(image), (path, path),
            tracked.world_to_camera, tracked.expression, tracked.intrinsics,
        ))  # fmt: skip
    return ForeignClip(frames, numbered_names(**sizes))


def _read_arrays(root: Path, paths: list[Path], quiet: bool) -> ForeignClip:
    find = _Pictures(root, number_in(paths[0].name))
    frames, sizes, rigid = [], {}, []
    for path in track(paths, len(paths), "reading frames", quiet=quiet):
        keys = ("head_pose", "cam", "K", *(key for key, _ in _ARRAYS.values()))
        arrays = read_npz(path, *keys, "img", "parsing")
        parts = {name: vector(arrays, key, path, length) for name, (key, length) in _ARRAYS.items()}
        sizes = {name: len(values) for name, values in parts.items()}
        rigid.append([vector(arrays, "head_pose", path, 3), parts["neck"], np.zeros(3)])
        image, matte = _pictures_of(find, path, arrays)
        scale = image.size()[0] / _K_SIDE
        intrinsics = np.diag([scale, scale, 1]) @ vector(arrays, "K", path, 9).reshape(3, 3)
        frames.append(ForeignFrame(
            number_in(path.name), image, matte, (path, path), _camera(vector(arrays, "cam", path, 6)),
            np.concatenate(list(parts.values())), intrinsics,
            Picture(path, "parsing") if "parsing" in arrays else None,
        ))  # fmt: skip
    clip = ForeignClip(frames, numbered_names(**sizes), find_head=head_of_labels).without_some_parsing()
    motion = FlameMotion.from_vectors(*zip(*rigid, strict=True))
    return with_flame_motion(clip, motion, list(range(len(frames))), quiet)


def _pictures_of(find: "_Pictures", path: Path, arrays: dict) -> tuple[Picture, Picture | None]:
    file = find.image(number_in(path.name))
    if file is None and "img" not in arrays:
        expected = find.expected(number_in(path.name))
        raise UserError(f"{path}: no img in it, and its picture is missing; expected {expected}")
    matte = find.matte(file) if file else None
    if matte is None and "parsing" in arrays:
        matte = Picture(path, "parsing", is_labels=True)
    return (Picture(file) if file else Picture(path, "img")), matte


def _camera(numbers: np.ndarray) -> np.ndarray:  # [6] -> [4, 4] OpenCV axes
    """Yaw, pitch and roll (radians, about y, x and z, in the order x, y, z) and place of the camera."""
    yaw, pitch, roll = numbers[:3]
    pose = np.eye(4)
    turns = exp_so3(np.array([[0, 0, roll], [0, yaw, 0], [pitch, 0, 0]]))
    pose[:3, :3], pose[:3, 3] = turns[0] @ turns[1] @ turns[2], numbers[3:]
    return opencv_from_opengl(pose)


class _Pictures:
    """Finds the picture and the matte of a frame's number."""

    def __init__(self, root: Path, first: int):
        self.root, self.folder, self.offset, self.files = root, root / "images", 0, {}
        for name in _IMAGE_FOLDERS:
            if files := pictures_by_number(root / name):
                self.folder, self.files = root / name, files
                # n from 1 beside frames from 0.
                self.offset = int(first not in files and first + 1 in files)
                return

    def image(self, number: int) -> Path | None:
        return self.files.get(number + self.offset)

    def matte(self, image: Path) -> Picture | None:
        """The file of the same name beside the pictures; None where there is none, and it is their alpha."""
        places = (picture_named(self.root / name, image.stem) for name in _MATTE_FOLDERS)
        return next((Picture(place) for place in places if place), None)

    def expected(self, number: int) -> str:
        return f"{self.folder / f'{number + self.offset:05d}.png'} or .jpg"
