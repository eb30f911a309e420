"""What render.py left of a run: pairs of pictures, and which frames of the clip they show.

<run>/<set>/ours_<iteration>/{renders,gt}/00000.png    <run>/<set>/ours_<iteration>/metrics.json
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from arguments import ScoringParams, TrainConfig, stored_config
from scene.avatar import MODEL_FOLDER
from scene.dataset_readers import Clip, read_clip
from utils.checkpoint import iteration_path, load_metadata
from utils.errors import UserError
from utils.image_headers import read_image_header
from utils.images import from_uint8, read_png
from utils.json_files import read_json

DEFAULT_SETS = ("test", "val")


class ScoredView(NamedTuple):
    """A picture: its number, and the frame's id and position in the clip."""

    index: int
    image_id: int
    position: int


@dataclass(frozen=True)
class RenderedSet:
    """Checked pictures of one set of one run; nothing is decoded yet.

    `name` is train, val or test; `metrics` is what metrics.json holds.
    """

    run: Path
    config: TrainConfig
    clip: Clip
    name: str
    iteration: int
    metrics: dict
    views: tuple[ScoredView, ...]
    width: int
    height: int

    @property
    def folder(self) -> Path:
        return self.run / self.name / f"ours_{self.iteration}"

    @property
    def is_ours(self) -> bool:
        """Whether render.py drew it, so that its scores belong beside it."""
        return True

    def pair(self, view: ScoredView) -> tuple[Tensor, Tensor]:
        """Decode render and truth, each [3, H, W] in [0, 1]."""
        image, truth = (from_uint8(read_png(path)) for path in _paths(self.folder, view.index))
        return image, truth


def find_rendered_sets(params: ScoringParams) -> list[RenderedSet]:
    """Find and check the sets of all runs that the options name.

    Raises UserError in one line that names what is not there, before anything is scored or written.
    """
    return [found for run in params.model_path for found in _sets_of(run, params)]


def _sets_of(run: Path, params: ScoringParams) -> list[RenderedSet]:
    config = stored_config(run)
    wanted = params.set or DEFAULT_SETS
    rendered = {name: _iterations(run / name) for name in wanted}
    found = sorted(set().union(*rendered.values()))
    if not found:
        raise UserError(f"{run}: nothing rendered in {' or '.join(wanted)}; run render.py -m {run} first")
    iteration = found[-1] if params.iteration < 0 else params.iteration
    if iteration not in found:
        raise UserError(
            f"--iteration {iteration}: not rendered in {run}, which holds {', '.join(map(str, found))}"
        )
    absent = [name for name in params.set if iteration not in rendered[name]]
    if absent:
        raise UserError(f"--set {absent[0]}: no ours_{iteration} in {run / absent[0]}; run render.py first")
    source = params.source_path or config.model.source_path
    if source is None:
        raise UserError(f"{run}: its config names no clip; name it with -s/--source_path")
    clip = read_clip(source, config.model.only_head, config.model.check_data)
    trained_on = _clip_digest(run, iteration)
    if trained_on not in (None, clip.digest):
        raise UserError(f"{source}: not the clip that {run} was trained on; name that one by -s")
    chosen = [name for name in wanted if iteration in rendered[name]]
    return [_read_set(run, config, clip, name, iteration) for name in chosen]


def _clip_digest(run: Path, iteration: int) -> str | None:
    """What the model says of the clip that it learned from; None where it does not say."""
    path = iteration_path(run / MODEL_FOLDER, iteration)
    return load_metadata(path).get("clip_digest") if path.is_file() else None


def _iterations(folder: Path) -> set[int]:
    names = [path.parent.name for path in folder.glob("ours_*/renders")]
    return {int(match[1]) for match in (re.fullmatch(r"ours_(\d+)", name) for name in names) if match}


def _read_set(run: Path, config: TrainConfig, clip: Clip, name: str, iteration: int) -> RenderedSet:
    folder = run / name / f"ours_{iteration}"
    if not (folder / "metrics.json").is_file():
        raise UserError(f"{folder}: holds no metrics.json; let render.py finish first")
    metrics = read_json(folder / "metrics.json")
    views = _views(folder / "metrics.json", metrics, clip)
    width, height = _common_size(folder, views)
    return RenderedSet(run, config, clip, name, iteration, metrics, views, width, height)


def _views(path: Path, metrics: dict, clip: Clip) -> tuple[ScoredView, ...]:
    positions = {frame.image_id: position for position, frame in enumerate(clip.frames)}
    try:
        views = [(int(view["index"]), int(view["image_id"])) for view in metrics["per_view"]]
    except (KeyError, TypeError, ValueError):
        views = []
    if not views:
        raise UserError(
            f"{path}: per_view: expected index and image_id of every view, as render.py writes it"
        )
    for _, image_id in views:
        if image_id not in positions:
            raise UserError(
                f"{path}: image_id {image_id}: no such frame in {clip.root}; see -s/--source_path"
            )
    return tuple(ScoredView(index, image_id, positions[image_id]) for index, image_id in views)


def _common_size(folder: Path, views: tuple[ScoredView, ...]) -> tuple[int, int]:
    """Check that every picture is there, whole, and of the same size; return width and height."""
    size = None
    for view in views:
        for path in _paths(folder, view.index):
            if not path.is_file():
                raise UserError(f"{path}: missing; expected a render and a gt picture for every view")
            try:
                header = read_image_header(path)
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: {error}; expected a complete image") from None
            size = size or (header.width, header.height)
            if (header.width, header.height) != size:
                found, expected = f"{header.width} x {header.height}", f"{size[0]} x {size[1]}"
                raise UserError(f"{path}: size {found}; expected {expected}, as the first render")
    return size


def _paths(folder: Path, index: int) -> tuple[Path, Path]:
    return folder / "renders" / f"{index:05d}.png", folder / "gt" / f"{index:05d}.png"
