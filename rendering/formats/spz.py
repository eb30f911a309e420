"""Splats as .spz, version 3: Niantic's public format, a gzip stream of a header and rounded attributes.

Header of 16 bytes, little endian: magic "NGSP", version, number of splats (32 bits each), SH degree, bits of
a position's fraction, flags, reserved (8 bits each). Then, each for all splats: positions (24-bit fixed
point), alphas, colours, log-scales (a byte each), rotations (32 bits, the three smallest parts), SH (a byte
for each of red, green, blue, basis by basis). Its axes are right, up, back: the avatar's own.
"""

import gzip
import struct

import numpy as np

from diff_gaussian_rasterization import Splats
from utils.errors import UserError
from utils.spherical_harmonics import degree_of

MAGIC, VERSION = b"NGSP", 3
# Finer than the 12 bits of the reference writer, which are a fifth of a pixel of a head in a big picture.
MOST_FRACTION_BITS = 16
COLOR_SCALE = 0.15
# Of a quaternion's part: 9 bits up to the most that a part can have that is not the largest.
MOST_OF_PART, PART_STEPS = np.sqrt(0.5), 511


def spz_bytes(splats: Splats) -> bytes:
    """Encode splats with SH. Raises UserError where a position does not fit into 24 bits."""
    means, sh = _numpy(splats.means), _numpy(splats.sh)  # [N, 3], [N, S, 3]
    fraction_bits = _fraction_bits(means)
    header = struct.pack("<4sIIBBBB", MAGIC, VERSION, len(means), degree_of(sh.shape[1]), fraction_bits, 0, 0)
    fixed = np.round(means * 2.0**fraction_bits).astype("<i4")
    parts = (
        fixed[:, :, None].view(np.uint8)[:, :, :3],
        _byte(_numpy(splats.opacities) * 255),
        _byte((sh[:, 0] * COLOR_SCALE + 0.5) * 255),
        _byte((np.log(_numpy(splats.scales)) + 10) * 16),
        _packed_rotations(_numpy(splats.rotations)),
        _byte(sh[:, 1:] * 128 + 128),
    )
    # A fixed time: the same avatar gives the same file.
    return gzip.compress(header + b"".join(part.tobytes() for part in parts), mtime=0)


def _fraction_bits(means: np.ndarray) -> int:
    most = float(np.abs(means).max(initial=0.0))
    for bits in range(MOST_FRACTION_BITS, -1, -1):
        if most * 2.0**bits < 2**23 - 1:
            return bits
    raise UserError(f"--format spz: a splat lies {most:.3g} from the origin; expected less than {2**23 - 1}")


def _packed_rotations(rotations: np.ndarray) -> np.ndarray:  # [N, 4] wxyz -> [N] 32 bits
    """The place of the largest of x y z w in two bits, then for each other a sign and nine bits."""
    xyzw = rotations[:, [1, 2, 3, 0]]
    xyzw = xyzw / np.linalg.norm(xyzw, axis=1, keepdims=True)
    rows, largest = np.arange(len(xyzw)), np.abs(xyzw).argmax(axis=1)
    # A quaternion and its negative are one rotation: the largest is positive, and left out.
    xyzw = xyzw * np.where(xyzw[rows, largest] < 0, -1.0, 1.0)[:, None]
    packed = largest.astype(np.uint32)
    for place in range(4):
        part = xyzw[:, place]
        size = np.clip(np.round(np.abs(part) / MOST_OF_PART * PART_STEPS), 0, PART_STEPS).astype(np.uint32)
        longer = (packed << 10) | ((part < 0).astype(np.uint32) << 9) | size
        packed = np.where(largest == place, packed, longer)
    return packed.astype("<u4")


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _numpy(values) -> np.ndarray:
    return values.detach().cpu().double().numpy()
