"""Held-out PSNR against wall-clock time: runs of train.py beside the published code, as one picture.

    python benchmarks/curves.py curves.png "obama, only head" output/results/main/obama/head/seed_0
    python benchmarks/curves.py curves.png "obama, only head" RUN RUN "macron, whole person" RUN

A title begins a panel, and the runs after it are its curves, named by their presets; evaluations during a run
are part of its time. For the clips and titles that issue 5 has figures of, the published code's are drawn:
best PSNR seen and PSNR at 5,800 iterations, at 27 iterations a second, on an H100.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from arguments.parser import Parser
from utils.errors import UserError, exit_on_user_error
from utils.files import replacing
from utils.json_files import read_json

# Training iterations a second.
PUBLISHED_RATE = 27
# Title: (iteration, PSNR).
PUBLISHED = {
    "obama, only head": [(5_000, 27.3), (5_800, 26.5)],
    "obama, whole person": [(4_000, 20.6), (5_800, 18.4)],
    "macron, whole person": [(5_800, 23.6)],
}
FORMATS = (".png", ".jpg", ".jpeg")
# The first that a run has is drawn.
SETS = ("test", "val")


class Curve(NamedTuple):
    """The scores of one run."""

    name: str
    seconds: list[float]
    psnr: list[float]


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("picture", type=Path, help="PNG or JPEG to write")
    parser.add_argument("panels", nargs="+", metavar="TITLE_OR_RUN", help="titles, each before its runs")
    parser.add_argument(
        "--lowest", type=float, metavar="DB", help="where the axes begin (default: all is seen)"
    )
    options = parser.parse_args(argv)
    if options.picture.suffix.lower() not in FORMATS:
        raise UserError(f"{options.picture}: expected a name that ends in {', '.join(FORMATS)}")
    draw(options.picture, panels_of(options.panels), options.lowest)


def panels_of(words: list[str]) -> dict[str, list[Curve]]:
    """The curves of each panel. Raises UserError where a run stands before the first title, or has no
    scores, or a title has no runs."""
    panels: dict[str, list[Curve]] = {}
    title = ""
    for word in words:
        if Path(word).is_dir():
            if not title:
                raise UserError(f"{word}: expected a title before the first run")
            panels[title].append(read_curve(Path(word)))
        else:
            title = word
            panels[title] = []
    for title, curves in panels.items():
        if not curves:
            raise UserError(f"{title!r}: expected a folder of a run, or a title that has runs after it")
    return panels


def read_curve(run: Path) -> Curve:
    """Raises UserError where the run has not been evaluated."""
    scores = read_json(run / "eval" / "curves.json")["evaluations"]
    for name in SETS:
        points = [point for point in scores if point["set"] == name]
        if points:
            preset = read_json(run / "config.json")["run"]["preset"]
            return Curve(preset, [p["seconds"] for p in points], [p["psnr"] for p in points])
    raise UserError(f"{run / 'eval' / 'curves.json'}: no scores of held-out frames")


def draw(path: Path, panels: dict[str, list[Curve]], lowest: float | None = None) -> None:
    """Write the picture, axes from `lowest` dB; makes its folder."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for curve in curves:
            axes.plot(curve.seconds, curve.psnr, marker=".", label=f"{curve.name}: {curve.psnr[-1]:.1f} dB")
        if title in PUBLISHED:
            seconds = [iteration / PUBLISHED_RATE for iteration, _ in PUBLISHED[title]]
            psnr = [value for _, value in PUBLISHED[title]]
            label = f"published code, best: {max(psnr):.1f} dB"
            axes.plot(seconds, psnr, "x--", color="tab:gray", label=label)
        axes.set(title=title, xlabel="seconds", ylabel="PSNR in dB, held out", xscale="log")
        axes.set_ylim(bottom=lowest)
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)


if __name__ == "__main__":
    main()
