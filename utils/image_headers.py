"""Size and completeness of JPEG and PNG files without decoding them, so that thousands can be checked at
load time.

JPEG: ITU-T T.81, Annex B (segments up to the frame header; the file must end with the EOI marker, whose two
bytes cannot occur inside the compressed data). PNG: W3C PNG specification, section 5 (every chunk carries a
CRC, the last one is IEND).
"""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Cameras and editors may leave something behind the end marker of a JPEG.
TRAILING_BYTES = 4096
# Width times height; 8K has 33 million.
LARGEST_PICTURE = 1 << 26
PNG_CHANNELS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray + alpha", 6: "RGBA"}


class ImageHeader(NamedTuple):
    """`channels` is "gray", "RGB", "palette", "gray + alpha", "RGBA", "CMYK" or "unknown"; `bits` of each."""

    width: int
    height: int
    channels: str
    bits: int


def read_image_header(path: Path) -> ImageHeader:
    """Return what the header says. Raises ValueError if the file is no complete JPEG or PNG."""
    with open(path, "rb") as file:
        start = file.read(len(PNG_SIGNATURE))
        if not start:
            raise ValueError("empty file")
        if start == PNG_SIGNATURE:
            return _png_header(start + file.read())
        if start.startswith(JPEG_START):
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TRAILING_BYTES))
            if JPEG_END not in file.read():
                raise ValueError("truncated JPEG (no end marker)")
            file.seek(0)
            return _jpeg_header(file.read())
    raise ValueError("neither JPEG nor PNG")


def check_picture_size(data: bytes) -> None:
    """Refuse a JPEG or PNG that would fill the memory, before it is decoded. Raises ValueError."""
    if data.startswith(PNG_SIGNATURE):
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    elif data.startswith(JPEG_START):
        width, height = _jpeg_header(data)[:2]
    else:
        raise ValueError("neither JPEG nor PNG")
    if width * height > LARGEST_PICTURE:
        raise ValueError(f"{width} x {height} pixels; expected at most {LARGEST_PICTURE} in all")


def _png_header(data: bytes) -> ImageHeader:
    position, header = len(PNG_SIGNATURE), None
    while position + 12 <= len(data):
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError("damaged PNG (wrong checksum)")
        if name == b"IHDR":
            width, height = (int.from_bytes(data[position + at : position + at + 4], "big") for at in (8, 12))
            bits, color_type = data[position + 16], data[position + 17]
            header = ImageHeader(width, height, PNG_CHANNELS.get(color_type, "unknown"), bits)
        if name == b"IEND" and header:
            return header
        position = end
    raise ValueError("truncated PNG (no end marker)")


def _jpeg_header(data: bytes) -> ImageHeader:
    position = len(JPEG_START)
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            # A fill byte.
            position += 1
        elif marker in JPEG_FRAME_MARKERS:
            bits, height, width = data[position + 4], *_two_shorts(data, position + 5)
            channels = {1: "gray", 3: "RGB", 4: "CMYK"}.get(data[position + 9], "unknown")
            return ImageHeader(width, height, channels, bits)
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ValueError("damaged JPEG (no frame header)")


def _two_shorts(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
