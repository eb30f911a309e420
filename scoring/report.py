"""Where scores go: metrics.json beside the pictures, the family's results.json and per_view.json, a table."""

import math
from pathlib import Path

from arguments import ScoringParams
from scoring.rendered_set import RenderedSet
from scoring.scores import DEFINITIONS, SetScores
from utils.json_files import finite, read_json, update_json

FAMILY_NAMES = {"l1": "L1", "psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}
_GREY_LEVELS = 255
# Heading, prefix of the scores.
_PAIRS = (("whole", ""), ("head", "head_"), ("mouth", "mouth_"), ("eyes", "eyes_"))
# Heading, score, number of decimals, factor.
_NUMBERS = (
    ("L1", "l1", 4, 1),
    ("LPIPS", "lpips", 4, 1),
    ("sharpness", "sharpness", 2, 1),
    ("of person", "sharpness_person", 2, 1),
    ("flicker", "flicker", 2, _GREY_LEVELS),
    ("background", "background_error", 3, _GREY_LEVELS),
)
TABLE_NOTE = "whole to eyes: PSNR in dB / SSIM; flicker and background error: grey levels of 255"


def write_scores(rendered: RenderedSet, scores: SetScores, params: ScoringParams) -> None:
    """Add the scores to the JSON files of the run; what train.py and render.py wrote there stays.

    metrics.json gets a key `scores`. results.json and per_view.json, which speak of the held-out frames, get
    what they lack. Raises UserError where a file cannot be read or written.
    """
    rows = [
        {"index": view.index, "image_id": view.image_id, **finite(row)}
        for view, row in zip(rendered.views, scores.views, strict=True)
    ]
    content = {
        "mean": finite(scores.means),
        "boxes": {"mouth": params.mouth_box, "eyes": params.eyes_box},
        "definitions": DEFINITIONS,
        "per_view": rows,
    }
    update_json(rendered.folder / "metrics.json", {"scores": content})
    if rendered.name == "test":
        _extend_family_files(rendered.run, f"ours_{rendered.iteration}", content["mean"], rows)


def table(results: list[tuple[RenderedSet, SetScores]]) -> list[list[str]]:
    """Heading and a row for each set, without the scores that no set has."""
    means = [scores.means for _, scores in results]
    numbers = [number for number in _NUMBERS if any(number[1] in mean for mean in means)]
    headings = [heading for heading, *_ in (*_PAIRS, *numbers)]
    rows = [["run", "set", "iteration", "frames", *headings]]
    for (rendered, scores), mean in zip(results, means, strict=True):
        iteration = str(rendered.iteration) if rendered.is_ours else "-"
        row = [str(rendered.run), rendered.name, iteration, str(len(scores.views))]
        for _, prefix in _PAIRS:
            row.append(pair_cell(mean, prefix))
        rows.append(row + [_cell(mean, *number[1:]) for number in numbers])
    return rows


def pair_cell(mean: dict[str, float], prefix: str = "") -> str:
    """PSNR in dB / SSIM."""
    return f"{_cell(mean, prefix + 'psnr', 2)} / {_cell(mean, prefix + 'ssim', 4)}"


def _cell(mean: dict[str, float], name: str, decimals: int, factor: float = 1) -> str:
    value = mean.get(name, math.nan)
    return "-" if math.isnan(value) else f"{factor * value:.{decimals}f}"


def _extend_family_files(run: Path, key: str, means: dict, rows: list[dict]) -> None:
    """Keep the L1, PSNR and SSIM of train.py, which are of images before rounding."""
    results, per_view = run / "results.json", run / "per_view.json"
    before = read_json(results).get(key, {}) if results.is_file() else {}
    named = {FAMILY_NAMES.get(name, name): value for name, value in means.items()}
    kept = {name: before[name] for name in ("L1", "PSNR", "SSIM") if name in before}
    update_json(results, {key: {**named, **kept}})

    views = read_json(per_view).get(key, []) if per_view.is_file() else []
    earlier = {view["image_id"]: view for view in views}
    merged = []
    for row in rows:
        view = earlier.get(row["image_id"], {})
        kept = {name: view[name] for name in ("l1", "psnr", "ssim") if name in view}
        merged.append({name: value for name, value in {**row, **kept}.items() if name != "index"})
    update_json(per_view, {key: merged})
