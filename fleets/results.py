"""What came out of each row: its scores, a picture, its files; fleet.csv and fleet.html."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleets.stages import Plan
from fleets.state import DONE, FAILED, outlook, read_stages
from utils.errors import UserError
from utils.files import write_text
from utils.json_files import is_number, read_json

SCORES = ("psnr", "ssim", "l1", "head_psnr")
COLUMNS = ("name", "status", "stage", *SCORES, "minutes", "light", "line")
# Pixels of a picture's height, quality of its JPEG.
PICTURE_HEIGHT, QUALITY = 192, 80
STYLE = """body{font:15px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}
td,th{padding:.4em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:middle}
img{display:block;height:192px}td.number{text-align:right;font-variant-numeric:tabular-nums}
.failed{color:#b00020}"""


class Result(NamedTuple):
    """A row at the end; scores are means over the held-out frames, None where there are none."""

    name: str
    status: str
    stage: str
    scores: dict[str, float | None]
    minutes: float
    light: Path | None
    line: str
    views: Path | None

    def cells(self) -> list[str]:
        """As COLUMNS."""
        scores = ["" if self.scores[name] is None else f"{self.scores[name]:.4f}" for name in SCORES]
        light = "" if self.light is None else str(self.light)
        return [self.name, self.status, self.stage, *scores, f"{self.minutes:.2f}", light, self.line]


def result_of(plan: Plan) -> Result:
    """What a row has come to."""
    state = outlook(plan)
    status = DONE if state.stage is None else state.status if state.status == FAILED else "unfinished"
    views = newest(plan.run, "test/ours_*")
    is_exported = status == DONE and read_stages(plan)["export"]["status"] == DONE
    return Result(
        plan.name,
        status,
        state.stage or "",
        scores_of(plan) if state.stage in (None, "export") else dict.fromkeys(SCORES),
        state.seconds / 60,
        newest(plan.run, "light/iteration_*.safetensors") if is_exported else None,
        state.line,
        views,
    )


def scores_of(plan: Plan) -> dict[str, float | None]:
    """The means over the held-out frames of the newest scores; those of metrics.py win."""
    folder = newest(plan.run, "test/ours_*")
    try:
        content: dict[str, Any] = read_json(folder / "metrics.json") if folder is not None else {}
    except UserError:
        content = {}
    means = {**content.get("mean", {}), **content.get("scores", {}).get("mean", {})}
    return {name: means[name] if is_number(means.get(name)) else None for name in SCORES}


def score_text(plan: Plan) -> str:
    """The one score that is told when a row is done."""
    psnr = scores_of(plan)["psnr"]
    return "done" if psnr is None else f"PSNR {psnr:.2f} dB"


def newest(folder: Path, pattern: str) -> Path | None:
    """The path that matches and was written last."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def write_results(out: Path, plans: Sequence[Plan]) -> list[Result]:
    """Write fleet.csv and fleet.html; return the results, in the table's order."""
    results = [result_of(plan) for plan in plans]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(result.cells() for result in results)
    write_text(out / "fleet.csv", text.getvalue())
    write_text(out / "fleet.html", page(results))
    return results


def page(results: Sequence[Result]) -> str:
    """One file that needs no other: pictures (truth, then avatar), scores, failures with their last line."""
    num_failed = sum(result.status == FAILED for result in results)
    num_done = sum(result.status == DONE for result in results)
    title = f"{len(results)} rows: {num_done} done, {num_failed} failed"
    heads = ("name", "truth | avatar", "PSNR, dB", "SSIM", "head PSNR, dB", "minutes", "")
    body = "\n".join(map(_table_row, results))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n<p>Means over the frames that training left out.</p>\n<table>\n"
        f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>\n{body}\n</table></html>\n"
    )


def _table_row(result: Result) -> str:
    pixels = _pictures(result)
    shown = f'<img alt="truth and avatar" src="data:image/jpeg;base64,{pixels}">' if pixels else ""
    numbers = [
        _number(result.scores["psnr"], 2),
        _number(result.scores["ssim"], 4),
        _number(result.scores["head_psnr"], 2),
        _number(result.minutes, 1),
    ]
    note = "" if result.status == DONE else f"{result.status}, {result.stage}: "
    note = html.escape(note + result.line)
    css = ' class="failed"' if result.status == FAILED else ""
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f"<tr><td>{html.escape(result.name)}</td><td>{shown}</td>{cells}<td{css}>{note}</td></tr>"


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _pictures(result: Result) -> str:
    """Truth and avatar of the middle held-out frame, side by side: JPEG in base64; nothing without any."""
    # Slow to import; a table that is wrong needs no pictures.
    import cv2

    from utils.images import jpeg_bytes

    names = sorted(path.name for path in result.views.glob("renders/*.png")) if result.views else []
    if not names:
        return ""
    name = names[len(names) // 2]
    pair = [cv2.imread(str(result.views / kind / name)) for kind in ("gt", "renders")]
    if any(image is None for image in pair) or pair[0].shape != pair[1].shape:
        return ""
    image = cv2.hconcat(pair)
    width = max(1, round(image.shape[1] * PICTURE_HEIGHT / image.shape[0]))
    image = cv2.resize(image, (width, PICTURE_HEIGHT), interpolation=cv2.INTER_AREA)
    return base64.b64encode(jpeg_bytes(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), QUALITY)).decode()
