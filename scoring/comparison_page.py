"""The page that flips between methods: one HTML file with its pictures as JPEG, which asks no network."""

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from arguments import ScoringParams
from scoring.comparison import Method
from scoring.grouping import yaws_of
from utils.errors import UserError
from utils.files import write_text
from utils.images import jpeg_bytes, shrunk, to_uint8
from utils.json_files import finite
from utils.progress import Progress

TEMPLATE = Path(__file__).resolve().parent / "page.html"
DATA_MARK = "{{data}}"
# Of JPEG; colours at full resolution, since differences are made of these pictures.
QUALITY = 92
# Pictures are made smaller until so many frames fit, or they are as narrow as this.
WANTED_FRAMES, LEAST_WIDTH = 12, 128
SHOWN_SCORES = ("psnr", "ssim", "head_psnr")


def write_page(path: Path, methods: Sequence[Method], params: ScoringParams) -> None:
    """Write the page of a comparison, with as many frames as fit into --page_megabytes.

    The worst and the best frame are in it, the others are spread over the set. Raises UserError where not one
    frame fits.
    """
    views = methods[0].rendered.views
    # Of the pictures; the rest is the page itself, and numbers.
    data = _numbers(methods)
    room = int(1e6 * params.page_megabytes) - len(_page(data).encode())
    order = _by_importance(methods)
    width = methods[0].rendered.width
    wanted = min(WANTED_FRAMES, len(views))
    while width > LEAST_WIDTH and wanted * _size(first := _pictures(methods, order[0], width)) > room:
        width = max(LEAST_WIDTH, width // 2)
    first = _pictures(methods, order[0], width)
    if _size(first) > room:
        raise UserError(f"--page_megabytes {params.page_megabytes:g}: not one frame of the page fits")
    frames = {}
    with Progress(len(views), "pictures of the page", quiet=params.quiet) as progress:
        for place in order:
            pictures = _pictures(methods, place, width)
            room -= _size(pictures)
            if room < 0:
                break
            frames[place] = pictures
            progress.update()
    shown = [{"place": place, "pictures": frames[place]} for place in sorted(frames)]
    write_text(path, _page({**data, "frames": shown}))


def _numbers(methods: Sequence[Method]) -> dict:
    """What the page knows without pictures."""
    rendered = methods[0].rendered
    return {
        "title": f"{rendered.clip.root.resolve().name}, {rendered.name}",
        "size": [rendered.width, rendered.height],
        "ids": [view.image_id for view in rendered.views],
        "yaws": [round(float(yaw), 1) for yaw in yaws_of(rendered)],
        "methods": [method.label for method in methods],
        "scores": [[_shown(row) for row in method.scores.views] for method in methods],
        "means": [_shown(method.scores.means) for method in methods],
        "frames": [],
    }


def _shown(scores: dict[str, float]) -> list[float | None]:
    known = finite({name: scores.get(name, np.nan) for name in SHOWN_SCORES})
    return [None if value is None else round(value, 4) for value in known.values()]


def _page(data: dict) -> str:
    # No text of the data may end the element that it stands in.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(DATA_MARK, text)


def _by_importance(methods: Sequence[Method]) -> list[int]:
    """Places of all frames: the worst, the best, then those that halve the gaps between the earlier ones."""
    psnr = np.mean([method.psnr for method in methods], axis=0)
    return list(dict.fromkeys((int(psnr.argmin()), int(psnr.argmax()), *_spreading(len(psnr)))))


def _spreading(count: int) -> Iterator[int]:
    """0 to count - 1, so that any start of it is spread evenly: by the reversed bits."""
    bits = max(1, (count - 1).bit_length())
    for number in range(1 << bits):
        place = int(f"{number:0{bits}b}"[::-1], 2)
        if place < count:
            yield place


def _pictures(methods: Sequence[Method], place: int, width: int) -> list[str]:
    """The truth and each method's picture, as base64 of JPEG."""
    pairs = [method.rendered.pair(method.rendered.views[place]) for method in methods]
    return [_jpeg(to_uint8(image), width) for image in (pairs[0][1], *(pair[0] for pair in pairs))]


def _jpeg(pixels: np.ndarray, width: int) -> str:
    # Colours as finely as brightness.
    flags = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return base64.b64encode(jpeg_bytes(shrunk(pixels, width), QUALITY, *flags)).decode()


def _size(pictures: Sequence[str]) -> int:
    """Bytes in the page, with what JSON adds."""
    return sum(map(len, pictures)) + 3 * len(pictures) + 40
