"""Mattes and parsing maps of a whole clip, as files; what is there from an interrupted run stays."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from preparation.data_set.images_and_arrays import read_image, write_image
from preparation.data_set.layout import Layout
from preparation.models.chosen_networks import Networks
from preparation.segmentation.head_parsing import HeadParser
from preparation.segmentation.matting import Network, flicker, mattes, person_confidence
from preparation.segmentation.parsing import ColorParser, parse_classes
from utils.progress import track

# How many networks work side by side.
NUM_MATTERS = 2
# How many frames teach the colours of hair, skin and clothes.
LEARNING_FRAMES = 20

# Frame [H, W, 3], matte [H, W], landmarks [478, 2] -> map [H, W, 3].
Parser = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def write_masks(
    layout: Layout,
    image_ids: np.ndarray,  # [F]
    pixels: np.ndarray,  # [F, 478, 2] landmarks of these frames
    networks: Networks,
    wants_parsing: bool = True,
    quiet: bool = False,
) -> dict[str, float] | None:
    """Write mattes and parsing maps; returns flicker before and after steadying, None if all were there."""
    ids = image_ids.tolist()
    places = [layout.mask, layout.parsing] if wants_parsing else [layout.mask]
    is_missing = [not all(place(i).exists() for place in places) for i in ids]
    if not any(is_missing):
        return None
    # The frame before steadies the first one.
    rows = range(max(0, is_missing.index(True) - 1), len(ids))
    matting = [networks.matting() for _ in range(NUM_MATTERS)]
    parse = _make_parser(layout, ids, pixels, networks, matting[0]) if wants_parsing else None
    frames = (read_image(layout.image(ids[row])) for row in rows)
    flickering = _Flickering()
    matted = track(mattes(frames, matting), len(rows), "mattes", quiet=quiet)
    for row, (frame, matte, coarse) in zip(rows, matted, strict=True):
        flickering.add(coarse, matte)
        if is_missing[row]:
            write_image(layout.mask(ids[row]), (255 * matte).round().astype(np.uint8))
            if parse:
                write_image(layout.parsing(ids[row]), parse(frame, matte, pixels[row]))
    return flickering.mean()


class _Flickering:
    """The flicker of mattes that come one after another, before and after they are steadied."""

    def __init__(self) -> None:
        self._recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=3)
        self._flickers: list[list[float]] = []

    def add(self, coarse: np.ndarray, matte: np.ndarray) -> None:
        steadied = cv2.resize(matte, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
        self._recent.append((coarse, steadied))
        if len(self._recent) == 3:
            self._flickers.append([flicker(*three) for three in zip(*self._recent, strict=True)])

    def mean(self) -> dict[str, float] | None:
        if not self._flickers:
            return None
        return dict(zip(("before", "after"), np.mean(self._flickers, axis=0).tolist(), strict=True))


def write_head_parsing(
    layout: Layout,
    image_ids: np.ndarray,  # [F]
    vertices: Callable[[int], np.ndarray],
    parser: HeadParser,
    quiet: bool = False,
) -> None:
    """Write the parsing maps by the head model. vertices: row -> the mesh [V, 3] in that frame's camera."""
    ids = image_ids.tolist()

    def read(row: int) -> tuple[np.ndarray, np.ndarray]:
        matte = read_image(layout.mask(ids[row]), cv2.IMREAD_GRAYSCALE)
        return read_image(layout.image(ids[row])), matte.astype(np.float32) / 255

    missing = [row for row, image_id in enumerate(ids) if not layout.parsing(image_id).exists()]
    if not missing:
        return
    for row in np.linspace(0, len(ids) - 1, min(LEARNING_FRAMES, len(ids))).astype(int):
        parser.learn(*read(row), vertices(row))

    def write(row: int) -> None:
        write_image(layout.parsing(ids[row]), parser(*read(row), vertices(row)))

    with ThreadPoolExecutor(NUM_MATTERS) as pool:
        for _ in track(pool.map(write, missing), len(missing), "parsing", quiet=quiet):
            pass


def _make_parser(
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
