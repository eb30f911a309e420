"""What a comparison leaves, in a folder for each set:

scores.md         tables for people: all scores, by yaw, by region
scores.csv        a row for each method: means of all scores; by_yaw.csv, by_region.csv: for each group
frames.csv        a row for each method and frame: all scores
frames.png        scores of every frame as curves; yaw.png: against the turn of the head
best.png ...      the frames to look at, truth | a render of each method
index.html        the page that flips between methods
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from arguments import ScoringParams
from scoring.comparison import Method
from scoring.comparison_page import write_page
from scoring.grouping import Group, by_region, by_yaw, yaws_of
from scoring.plots import plot_frames, plot_yaw
from scoring.report import TABLE_NOTE, pair_cell, table
from utils.files import write_text
from utils.images import contact_sheet, to_uint8, write_png
from utils.tables import markdown_table

# Rows of best.png and worst.png; pixels of a picture in them.
SHOWN_FRAMES, SHOWN_WIDTH = 3, 384


def write_comparison(folder: Path, methods: Sequence[Method], params: ScoringParams) -> str:
    """Write all files of a set's comparison; return the tables by yaw and by region, for people.

    Raises UserError where a map cannot be read or a file cannot be written.
    """
    yaws, (regions, notice) = by_yaw(methods), by_region(methods, params.quiet)
    tables = [_group_table("yaw, degrees", yaws, methods) if yaws else "by yaw: the head does not turn"]
    tables += [_group_table("region", regions, methods), *([notice] if notice else [])]
    text = "\n\n".join(tables)
    _write_tables(folder, methods, text)
    _write_csv(folder / "frames.csv", _frame_rows(methods))
    _write_csv(folder / "by_yaw.csv", _group_rows("yaw", yaws, methods))
    _write_csv(folder / "by_region.csv", _group_rows("region", regions, methods))
    plot_frames(folder / "frames.png", methods)
    plot_yaw(folder / "yaw.png", methods)
    for name, places in shown_frames(methods).items():
        write_png(folder / f"{name}.png", _sheet(methods, places))
    write_page(folder / "index.html", methods, params)
    return text


def shown_frames(methods: Sequence[Method]) -> dict[str, list[int]]:
    """Places of the frames to look at: the best and the worst by mean PSNR over methods, and where methods
    differ most."""
    psnr = np.stack([method.psnr for method in methods])  # [M, F]
    order = np.argsort(-psnr.mean(axis=0), kind="stable")
    shown = {"best": order[:SHOWN_FRAMES], "worst": order[::-1][:SHOWN_FRAMES]}
    if len(methods) > 1:
        shown["differ"] = np.argsort(-np.ptp(psnr, axis=0), kind="stable")[:SHOWN_FRAMES]
    return {name: places.tolist() for name, places in shown.items()}


def _write_tables(folder: Path, methods: Sequence[Method], groups: str) -> None:
    rendered = methods[0].rendered
    rows = table([(method.rendered, method.scores) for method in methods])
    pictures = [f"![{name}]({name}.png)" for name in ("frames", "yaw", *shown_frames(methods))]
    title = f"# {rendered.clip.root.resolve().name}, {rendered.name}: {len(rendered.views)} frames"
    parts = [title, markdown_table(rows), TABLE_NOTE, groups, "[Flip between methods](index.html)", *pictures]
    write_text(folder / "scores.md", "\n\n".join(parts) + "\n")
    means = [{"method": method.label, **method.scores.means} for method in methods]
    _write_csv(folder / "scores.csv", means)


def _group_table(heading: str, groups: Sequence[Group], methods: Sequence[Method]) -> str:
    rows = [[heading, "frames", *(method.label for method in methods)]]
    rows += [[group.name, str(group.num_frames), *map(pair_cell, group.means)] for group in groups]
    return markdown_table(rows)


def _group_rows(kind: str, groups: Sequence[Group], methods: Sequence[Method]) -> Iterable[dict]:
    for group in groups:
        for method, means in zip(methods, group.means, strict=True):
            yield {"method": method.label, kind: group.name, "frames": group.num_frames, **means}


def _frame_rows(methods: Sequence[Method]) -> Iterable[dict]:
    for method in methods:
        views, yaws = method.rendered.views, yaws_of(method.rendered)
        for view, yaw, scores in zip(views, yaws, method.scores.views, strict=True):
            frame = {"index": view.index, "img_id": view.image_id, "yaw": yaw}
            yield {"method": method.label, **frame, **scores}


def _write_csv(path: Path, rows: Iterable[dict]) -> None:
    """Columns are those of all rows; a score that is not defined is an empty cell."""
    rows = list(rows)
    stream = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    write_text(path, stream.getvalue())


def _plain(value: str | float) -> str | float:
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"


def _sheet(methods: Sequence[Method], places: Sequence[int]) -> np.ndarray:
    rows = []
    for place in places:
        view = methods[0].rendered.views[place]
        truth = methods[0].rendered.pair(view)[1]
        row = [(f"truth, img_id {view.image_id}", to_uint8(truth))]
        for method in methods:
            image = method.rendered.pair(method.rendered.views[place])[0]
            row.append((f"{method.label}, {method.values('psnr')[place]:.2f} dB", to_uint8(image)))
        rows.append(row)
    return contact_sheet(rows, max_width=SHOWN_WIDTH)
