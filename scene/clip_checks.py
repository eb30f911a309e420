"""Do cameras, mattes and pictures belong together? What a file says by itself is checked where it is read.

A clip whose head is elsewhere, whose unit is another, or whose mattes select nothing or the wrong thing would
train to the end and leave empty pictures. So some mattes are decoded before anything else, all of a short
clip; others are looked at when they are decoded anyway (`matte_defect`). --no-check_data turns all of it off.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from scene.image_checks import READER_THREADS, decode_image
from utils.errors import UserError
from utils.sampling import evenly_spread

# Clips of up to so many frames are looked at whole, longer ones at so many places.
SHORT_CLIP, PLACES = 500, 96
# Of 255: a matte that is nowhere as opaque selects nobody.
OPAQUE = 128
# Head units (a head's radius is about 0.3): how wide a person's matte may be.
LEAST_WIDTH, LARGEST_WIDTH = 0.2, 5.0
# Head units around the origin, which lies between the ears: on the person in any matte.
CORE = 0.1
# Of 255: mean values that say "outside" and "inside".
LOW, HIGH = 64, 191
TURN_OFF = "--no-check_data takes the data as they are"


@dataclass(frozen=True)
class _Look:
    """What one matte and its camera say."""

    largest: int
    smallest: int
    # Pixels, from the left and the top.
    origin: tuple[float, float]
    # Mean matte around the origin, or None where that is out of the picture.
    at_origin: float | None
    # Mean matte along the upper part of the picture's border.
    at_border: float
    # Head units.
    width: float


def check_clip(clip) -> tuple[str, ...]:
    """Refuse a clip (dataset_readers.Clip) whose parts contradict one another; return notes for the log.

    Raises UserError in one line with the numbers, the file, and the option that turns the check off.
    """
    path = clip.root / "transforms.json"
    if not (0 < clip.cx < clip.width and 0 < clip.cy < clip.height):
        raise UserError(
            f"{path}: cx, cy: the principal point {clip.cx:g}, {clip.cy:g} lies outside of the pictures of "
            f"{clip.width} x {clip.height}; {TURN_OFF}"
        )
    num = len(clip.frames)
    count = num if num <= SHORT_CLIP else PLACES
    chosen = evenly_spread(num, count).tolist()
    frames = [clip.frames[i] for i in chosen]
    with ThreadPoolExecutor(READER_THREADS) as pool:
        looks = list(pool.map(lambda frame: _look(clip, frame), frames))
    _check_values(frames, looks)
    _check_sides(frames, looks)
    _check_geometry(path, clip, looks)
    if all(look.smallest == 255 for look in looks):
        return (
            f"{clip.root / 'mask'}: the mattes are 255 everywhere: nothing is cut out, what stands behind "
            "the person becomes part of the head",
        )
    return ()


def matte_defect(largest: int) -> str | None:
    """What is wrong with a matte of 8 bits with this largest value, in words; None if nothing is."""
    if largest == 0:
        return "all zero, no pixel is on the person"
    if largest < OPAQUE:
        return f"its largest value is {largest}"
    return None


def refuse_matte(path, defect: str, more: str = "") -> UserError:
    """The one line for a matte with such a defect."""
    return UserError(
        f"{path}: {defect}{more}; expected an 8-bit matte, 255 on the person and 0 elsewhere (not 0 and 1, "
        f"not labels); {TURN_OFF}"
    )


def _look(clip, frame) -> _Look:
    matte = decode_image(frame.mask_path, cv2.IMREAD_GRAYSCALE)
    height, width = matte.shape
    camera = clip.camera(frame)
    x, y, z = camera.world_to_camera[:3, 3].tolist()
    u, v = clip.fx * x / z + clip.cx, clip.fy * y / z + clip.cy
    reach_u, reach_v = (max(1.0, CORE * focal / z) for focal in (clip.fx, clip.fy))
    is_in_picture = 0 <= u < width and 0 <= v < height
    rows = slice(max(0, int(v - reach_v)), int(v + reach_v) + 1)
    columns = slice(max(0, int(u - reach_u)), int(u + reach_u) + 1)
    upper = matte[: max(1, height // 2)]
    border = np.concatenate([matte[0], upper[:, 0], upper[:, -1]])
    covered = np.flatnonzero(matte.max(axis=0, initial=0) >= OPAQUE)
    span = int(covered[-1] - covered[0] + 1) if len(covered) else 0
    return _Look(
        largest=int(matte.max(initial=0)),
        smallest=int(matte.min(initial=255)),
        origin=(u, v),
        at_origin=float(matte[rows, columns].mean()) if is_in_picture else None,
        at_border=float(border.mean()),
        width=span * z / clip.fx,
    )


def _check_values(frames: list, looks: list[_Look]) -> None:
    for is_bad in (lambda look: look.largest == 0, lambda look: look.largest < OPAQUE):
        bad = [i for i, look in enumerate(looks) if is_bad(look)]
        if bad:
            more = f" ({len(bad)} of {len(looks)} mattes looked at are like it)"
            raise refuse_matte(frames[bad[0]].mask_path, matte_defect(looks[bad[0]].largest), more)


def _check_sides(frames: list, looks: list[_Look]) -> None:
    swapped = [
        i
        for i, look in enumerate(looks)
        if look.at_origin is not None and look.at_origin < LOW and look.at_border > HIGH
    ]
    if 2 * len(swapped) > len(looks):
        raise UserError(
            f"{frames[swapped[0]].mask_path}: person and background are swapped ({len(swapped)} of "
            f"{len(looks)} mattes looked at are like it): dark at the head, bright along the upper border; "
            f"expected 255 on the person; {TURN_OFF}"
        )


def _check_geometry(path, clip, looks: list[_Look]) -> None:
    hits = sum(look.at_origin is not None and look.at_origin >= LOW for look in looks)
    u, v = np.median([look.origin for look in looks], axis=0)
    if 2 * hits < len(looks):
        raise UserError(
            f"{path}: transform_matrix: the origin, where the head should be, lies in picture and matte in "
            f"{hits} of {len(looks)} frames looked at (median place {u:.0f}, {v:.0f} of "
            f"{clip.width} x {clip.height} pixels); expected at least half of them; {TURN_OFF}"
        )
    width = float(np.median([look.width for look in looks]))
    if not LEAST_WIDTH <= width <= LARGEST_WIDTH:
        raise UserError(
            f"{path}: transform_matrix: the person is {width:.3g} units wide at the distance of the cameras; "
            f"expected {LEAST_WIDTH:g} to {LARGEST_WIDTH:g} (a head is about 0.6 wide): are the units "
            f"millimetres or metres? {TURN_OFF}"
        )
