"""Pictures of a scored set to look at: whole frames, and the details that numbers say little about."""

from collections.abc import Sequence

import cv2
import numpy as np

from scoring.regions import RegionFinder
from scoring.rendered_set import RenderedSet, ScoredView
from scoring.scores import SetScores
from utils.images import contact_sheet, error_map, to_uint8, write_png

# An enlarged detail is about so many pixels wide.
DETAIL_WIDTH = 320
WIDEST_MOUTH = "jawOpen"


def write_pictures(rendered: RenderedSet, scores: SetScores, finder: RegionFinder) -> None:
    """Write strips.png and details.png beside the pictures of a set.

    strips.png: best, median and worst frame by PSNR, truth | render | error. details.png: mouth and eyes of
    these and of the frame with the widest open mouth, truth above render. Raises UserError.
    """
    chosen = choose_views(rendered, scores)
    strips = [_strip(rendered, name, view) for name, view in chosen.items() if name != "mouth open"]
    write_png(rendered.folder / "strips.png", contact_sheet(strips, max_width=rendered.width))
    rows = [row for row in _detail_rows(rendered, finder, chosen) if row]
    if rows:
        widest = max(image.shape[1] for row in rows for _, image in row)
        write_png(rendered.folder / "details.png", contact_sheet(rows, max_width=widest))


def choose_views(rendered: RenderedSet, scores: SetScores) -> dict[str, ScoredView]:
    """Choose what to show: the best, the median, the worst view by PSNR, and the widest open mouth."""
    order = sorted(range(len(scores.views)), key=lambda i: -scores.views[i]["psnr"])
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    names = rendered.clip.expression_names or ()
    if WIDEST_MOUTH in names:
        coefficient = names.index(WIDEST_MOUTH)
        frames = [rendered.clip.frames[view.position] for view in rendered.views]
        chosen["mouth open"] = int(np.argmax([frame.expression[coefficient] for frame in frames]))
    return {name: rendered.views[i] for name, i in chosen.items()}


def _strip(rendered: RenderedSet, name: str, view: ScoredView) -> list[tuple[str, np.ndarray]]:
    image, truth = rendered.pair(view)
    psnr = -10 * np.log10(max(1e-12, float((image - truth).square().mean())))
    return [
        (f"truth, {name}, frame {view.image_id}", to_uint8(truth)),
        (f"render, {psnr:.1f} dB", to_uint8(image)),
        ("error", error_map(image, truth)),
    ]


def _detail_rows(
    rendered: RenderedSet, finder: RegionFinder, chosen: dict[str, ScoredView]
) -> list[Sequence[tuple[str, np.ndarray]]]:
    """Rows of enlarged crops: for each detail the truth of all chosen views, then the renders."""
    rows: dict[tuple[str, str], list] = {}
    for name, view in chosen.items():
        pair = [to_uint8(image) for image in rendered.pair(view)]
        for detail, rectangle in finder.find(view).details.items():
            for source, pixels in zip(("truth", "render"), reversed(pair)):
                crop = pixels[rectangle.slices]
                if crop.size:
                    label = f"{source}, {name}, frame {view.image_id}"
                    rows.setdefault((detail, source), []).append((label, _enlarged(crop)))
    return list(rows.values())


def _enlarged(crop: np.ndarray) -> np.ndarray:
    factor = max(1, round(DETAIL_WIDTH / crop.shape[1]))
    return cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
