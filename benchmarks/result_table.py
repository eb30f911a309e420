"""The table that benchmarks/results.py prints: mean and spread over the seeds of what is complete."""

import datetime
import shlex
import statistics
from pathlib import Path

from benchmarks.result_runs import Run
from utils.files import write_text
from utils.json_files import finite, read_json, write_json
from utils.tables import markdown_table

# Heading, scores of one cell with their decimals, factor.
COLUMNS = (
    ("whole", (("psnr", 2), ("ssim", 4)), 1),
    ("head", (("head_psnr", 2), ("head_ssim", 4)), 1),
    ("mouth", (("mouth_psnr", 2), ("mouth_ssim", 4)), 1),
    ("LPIPS", (("lpips", 4),), 1),
    ("sharpness", (("sharpness", 2),), 1),
    ("flicker", (("flicker", 2),), 255),
    ("background", (("background_error", 3),), 255),
    ("minutes", (("minutes", 1),), 1),
)
NOTE = "whole, head, mouth: PSNR in dB / SSIM. flicker, background: grey levels of 255. "
NOTE += "mean ± standard deviation over the seeds. minutes: of training"


def write_results(folder: Path, runs: list[Run], scored: str) -> str:
    """Write results.json and results.md; return the text of the latter. `scored` is the set of the table."""
    complete = [(run, scores_of(run, scored)) for run in runs if run.is_complete]
    by_row: dict[tuple[str, str], list[dict]] = {}
    for run, scores in complete:
        by_row.setdefault((run.source.name, run.row), []).append(scores)
    rows = [["clip", "row", "seeds", *(heading for heading, *_ in COLUMNS)]]
    for (clip, row), seeds in by_row.items():
        cells = [cell(seeds, names, factor) for _, names, factor in COLUMNS]
        rows.append([clip, row, str(len(seeds)), *cells])
    text = f"{markdown_table(rows)}\n\n{NOTE}. Set: {scored}.\n"
    document = {
        "date": datetime.date.today().isoformat(),
        "set": scored,
        "runs": [
            {
                "clip": run.source.name,
                "row": run.row,
                "seed": run.seed,
                "command": shlex.join(run.plan.stages[0].command),
                **finite(scores),
            }
            for run, scores in complete
        ],
    }
    write_json(folder / "results.json", document)
    write_text(folder / "results.md", text)
    return text


def summary(run: Run, scored: str) -> str:
    """Say in one line how a complete run went."""
    scores = {name: value for name, value in scores_of(run, scored).items() if value is not None}
    psnr, ssim = (scores.get(name, float("nan")) for name in ("psnr", "ssim"))
    return f"PSNR {psnr:.2f} dB, SSIM {ssim:.4f}"


def scores_of(run: Run, scored: str) -> dict[str, float | None]:
    """Read the mean scores of a complete run, and the minutes of its training."""
    folders = (run.plan.run / scored).glob("ours_*")
    newest = max(folders, key=lambda folder: int(folder.name.removeprefix("ours_")))
    mean = read_json(newest / "metrics.json")["scores"]["mean"]
    curves = read_json(run.plan.run / "eval" / "curves.json")
    return {**mean, "minutes": curves["evaluations"][-1]["seconds"] / 60}


def cell(seeds: list[dict], names: tuple[tuple[str, int], ...], factor: float) -> str:
    """Mean and spread over the seeds of the scores of one cell, such as 29.57 ± 0.12 / 0.972 ± 0.001."""
    texts = []
    for name, decimals in names:
        values = [factor * scores[name] for scores in seeds if scores.get(name) is not None]
        text = f"{statistics.fmean(values):.{decimals}f}" if values else "-"
        if len(values) > 1:
            text += f" ± {statistics.stdev(values):.{decimals}f}"
        texts.append(text)
    return " / ".join(texts)
