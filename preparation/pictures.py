"""Frames, mattes and parsing maps on disk; what is there from an interrupted run stays."""

from collections import deque
from collections.abc import Callable
from itertools import islice

import cv2
import numpy as np

from preparation.dataset_files import Layout
from preparation.files import read_image, write_image
from preparation.heads import Solution
from preparation.matting import Network, flicker, mattes, person_confidence
from preparation.options import Networks, Options
from preparation.parsing import ColorParser, parse_classes
from preparation.video import Video, read_frames
from utils.errors import UserError
from utils.progress import track

NUM_MATTERS = 2  # networks at work side by side
LEARNING_FRAMES = 20  # that teach the colours of hair, skin and clothes

# Frame [H, W, 3], matte [H, W], landmarks [478, 2] -> map [H, W, 3].
Parser = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def frame_size(video: Video) -> tuple[int, int]:
    """Width and height of the upright video. Raises UserError where no frame can be decoded."""
    first = next(read_frames(video), None)
    if first is None:
        part = f" from {video.start:g} s on" if video.start else ""
        raise UserError(f"{video.path}: no frame could be decoded{part}; the file is damaged or empty")
    return first.shape[1], first.shape[0]


def write_frames(video: Video, layout: Layout, solution: Solution, every: int, options: Options) -> None:
    """Decode the video again and write the window of every frame that is kept; files that are there stay."""
    wanted = {int(frame) // every for frame in solution.frames}
    missing = [i for i in sorted(wanted) if not layout.image(i).exists()]
    if not missing:
        return
    frames = read_frames(video, crop=solution.crop.window, every=every)
    size = (options.size, options.size)
    shrinks = solution.crop.side > options.size
    frames = islice(frames, max(wanted) + 1)
    for image_id, frame in enumerate(track(frames, max(wanted) + 1, "writing frames", quiet=options.quiet)):
        if image_id in wanted and not layout.image(image_id).exists():
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            write_image(layout.image(image_id), cv2.resize(frame, size, interpolation=interpolation))


def write_mattes(
    layout: Layout, image_ids: np.ndarray, pixels: np.ndarray, networks: Networks, options: Options
) -> dict[str, float] | None:
    """Write mattes and parsing maps; returns flicker before and after steadying, None if all were there.

    pixels: landmarks [F, 478, 2] of the frames `image_ids` [F].
    """
    ids = image_ids.tolist()
    folders = [layout.mask, layout.parsing] if options.parsing else [layout.mask]
    is_missing = [not all(place(i).exists() for place in folders) for i in ids]
    if not any(is_missing):
        return None
    rows = range(max(0, is_missing.index(True) - 1), len(ids))  # the one before steadies the first
    matting = [networks.matting() for _ in range(NUM_MATTERS)]
    parse = _parser(layout, ids, pixels, networks, matting[0]) if options.parsing else None
    frames = (read_image(layout.image(ids[row])) for row in rows)
    recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=3)  # before and after steadying
    flickers = []
    for row, (frame, matte, coarse) in zip(
        rows, track(mattes(frames, matting), len(rows), "mattes", quiet=options.quiet), strict=True
    ):
        recent.append((coarse, cv2.resize(matte, coarse.shape[::-1], interpolation=cv2.INTER_AREA)))
        if len(recent) == 3:
            flickers.append([flicker(*three) for three in zip(*recent, strict=True)])
        if is_missing[row]:
            write_image(layout.mask(ids[row]), (255 * matte).round().astype(np.uint8))
            if parse:
                write_image(layout.parsing(ids[row]), parse(frame, matte, pixels[row]))
    return (
        dict(zip(("before", "after"), np.mean(flickers, axis=0).tolist(), strict=True)) if flickers else None
    )


def _parser(
    layout: Layout, ids: list[int], pixels: np.ndarray, networks: Networks, matting: Network
) -> Parser:
    """The parsing network where there is one, else colours learned from some frames of the clip."""
    if networks.classes:
        classify = networks.classes()
        return lambda frame, matte, landmarks: parse_classes(classify(frame), matte, landmarks)
    parser = ColorParser()
    for row in np.linspace(0, len(ids) - 1, min(LEARNING_FRAMES, len(ids))).astype(int):
        frame = read_image(layout.image(ids[row]))
        parser.learn(frame, person_confidence(matting(frame)), pixels[row])
    return parser
