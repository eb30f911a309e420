"""Pictures that any other method drew of frames of a clip: a folder of PNGs, scored as those of render.py.

Names count by their last number (`00003.png`, `frame_12.png`): either all are the numbers of the set's
pictures (0, 1, 2, ...), or all are its frames' img_id. The truth is the first run's, or made of the clip.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
from torch import Tensor

from arguments import ModelParams, ScoringParams, TrainConfig
from scene.dataset import FrameDataset
from scene.dataset_readers import Clip, read_clip, split_clip
from scene.image_checks import decode_image
from scoring.rendered_set import RenderedSet, ScoredView
from utils.errors import UserError
from utils.image_headers import read_image_header
from utils.images import from_uint8, read_png

_LAST_NUMBER = re.compile(r"(\d+)\D*$")
# Of a set that no iteration made.
NO_ITERATION = -1


@dataclass(frozen=True)
class ForeignSet(RenderedSet):
    """Checked pictures of another method: `paths` in the order of `views`, `truth` is who has the frames."""

    paths: tuple[Path, ...]
    truth: RenderedSet | FrameDataset

    @property
    def folder(self) -> Path:
        return self.run

    @property
    def is_ours(self) -> bool:
        return False

    def pair(self, view: ScoredView) -> tuple[Tensor, Tensor]:
        """Decode render and truth, each [3, H, W] in [0, 1]."""
        place = self.views.index(view)
        image = from_uint8(read_png(self.paths[place]))
        if isinstance(self.truth, FrameDataset):
            return image, self.truth[place].image
        return image, self.truth.pair(view)[1]


def find_foreign_sets(params: ScoringParams, sets: list[RenderedSet]) -> list[RenderedSet]:
    """Match and check the folders of --renders, against the sets of the first run or else the clip of -s.

    Raises UserError in one line that names the folder, what was expected and what is there.
    """
    if not params.renders:
        return []
    if not sets:
        clip = read_clip(params.source_path)
        return [_of_clip(folder, clip, params) for folder in params.renders]
    first = [rendered for rendered in sets if rendered.run == sets[0].run]
    return [_of_run(folder, first) for folder in params.renders]


def _of_run(folder: Path, candidates: list[RenderedSet]) -> ForeignSet:
    """The set whose frames the folder holds; of sets that both fit, the first."""
    paths = _numbered(folder)
    for rendered in candidates:
        ids = [view.image_id for view in rendered.views]
        for numbers in ([view.index for view in rendered.views], ids):
            if sorted(paths) == sorted(numbers):
                found = tuple(paths[number] for number in numbers)
                _check_size(found, rendered.width, rendered.height)
                return ForeignSet(
                    run=folder,
                    config=rendered.config,
                    clip=rendered.clip,
                    name=rendered.name,
                    iteration=NO_ITERATION,
                    metrics={},
                    views=rendered.views,
                    width=rendered.width,
                    height=rendered.height,
                    paths=found,
                    truth=rendered,
                )
    views = candidates[0].views
    whose = f"the {candidates[0].name} set of {candidates[0].run}"
    raise _mismatch(folder, paths, [view.index for view in views], [view.image_id for view in views], whose)


def _of_clip(folder: Path, clip: Clip, params: ScoringParams) -> ForeignSet:
    """Frames named by img_id, or by their number in the test split that train.py --eval keeps."""
    paths = _numbered(folder)
    position = {frame.image_id: place for place, frame in enumerate(clip.frames)}
    test = split_clip(len(clip.frames), eval=True).test
    if sorted(paths) == list(range(len(test))):
        positions = test
    elif set(paths) <= set(position):
        positions = tuple(sorted(position[image_id] for image_id in paths))
    else:
        ids = [clip.frames[place].image_id for place in test]
        raise _mismatch(folder, paths, range(len(test)), ids, f"the held-out frames of {clip.root}")
    by_number = sorted(paths) == list(range(len(test)))
    views = tuple(ScoredView(k, clip.frames[place].image_id, place) for k, place in enumerate(positions))
    found = tuple(paths[view.index if by_number else view.image_id] for view in views)
    width, height = _size_of(found[0])
    background = (float(params.white_background),) * 3
    truth = FrameDataset(clip, positions, resolution=width, background=background, cache_bytes=0)
    if (truth.width, truth.height) != (width, height):
        shape = f"{clip.width} x {clip.height}"
        raise UserError(f"{found[0]}: size {width} x {height}; expected the shape of the clip, {shape}")
    _check_size(found, width, height)
    model = replace(
        ModelParams(), source_path=clip.root, model_path=folder, white_background=params.white_background
    )
    config = TrainConfig(model=model)
    return ForeignSet(
        folder, config, clip, "test", NO_ITERATION, {}, views, width, height, paths=found, truth=truth
    )


def _numbered(folder: Path) -> dict[int, Path]:
    """The PNGs of a folder by the last number in their names."""
    if not folder.is_dir():
        raise UserError(f"--renders {folder}: no such folder")
    paths: dict[int, Path] = {}
    # Hidden ones are macOS's (._00000.png).
    for path in sorted(path for path in folder.glob("*.png") if not path.name.startswith(".")):
        match = _LAST_NUMBER.search(path.stem)
        if match is None:
            raise UserError(
                f"--renders {path}: no number in its name; expected 00000.png, ... or <img_id>.png"
            )
        if (number := int(match[1])) in paths:
            raise UserError(f"--renders {path}: number {number} twice; {paths[number].name} has it too")
        paths[number] = path
    if not paths:
        raise UserError(f"--renders {folder}: no .png file; expected one of every frame")
    return paths


def _mismatch(
    folder: Path, paths: dict[int, Path], numbers: Iterable[int], ids: Iterable[int], whose: str
) -> UserError:
    numbers, ids = sorted(numbers), sorted(ids)
    expected = f"{len(ids)} of {whose}: {numbers[0]:05d}.png to {numbers[-1]:05d}.png, or by img_id"
    missing = [number for number in ids if number not in paths]
    by_id = f"{ids[0]} to {ids[-1]}" + (f" (no {missing[0]})" if 0 < len(missing) < len(ids) else "")
    names = f"{paths[min(paths)].name} to {paths[max(paths)].name}"
    return UserError(f"--renders {folder}: {len(paths)} PNGs, {names}; expected {expected} {by_id}")


def _check_size(paths: tuple[Path, ...], width: int, height: int) -> None:
    for path in paths:
        if (size := _size_of(path)) != (width, height):
            found = f"{size[0]} x {size[1]}"
            raise UserError(f"--renders {path}: size {found}; expected {width} x {height}, as the truth")


def _size_of(path: Path) -> tuple[int, int]:
    try:
        header = read_image_header(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--renders {path}: {error}; expected a complete image") from None
    if "A" in header.channels or "alpha" in header.channels:
        if decode_image(path, cv2.IMREAD_UNCHANGED)[..., -1].min() < 255:
            raise UserError(f"--renders {path}: is transparent; expected a picture on the truth's background")
    return header.width, header.height
