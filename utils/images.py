"""Images as tensors [3, H, W] in [0, 1], as 8-bit arrays [H, W, 3] (RGB), as PNG files; pictures to look at.

Everything that is laid out or labelled here is an 8-bit array; `to_uint8` is the one place that rounds.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from utils.errors import UserError
from utils.files import replacing
from utils.image_headers import check_picture_size
from utils.png import png_bytes

NEUTRAL_GREY = 128
_LABEL_HEIGHT = 18
_LABEL_BACKGROUND, _LABEL_COLOR = 32, 235


def to_uint8(image: Tensor) -> np.ndarray:
    """Clamp an image [C, H, W] or [H, W] to [0, 1], round it to 8 bits [H, W, C] or [H, W]; NaN is black."""
    return quantized(image).cpu().numpy()


def quantized(image: Tensor) -> Tensor:
    """`to_uint8`, as a tensor where the image lies: uint8 [..., H, W, C] of [..., C, H, W], or [H, W]."""
    if image.dim() < 2:
        raise ValueError(f"image: expected shape [..., C, H, W] or [H, W], got {list(image.shape)}")
    pixels = _in_8_bits(image)
    return pixels if image.dim() == 2 else pixels.movedim(-3, -1).contiguous()


def _in_8_bits(values: Tensor) -> Tensor:
    # In place from the first copy on.
    return values.detach().float().nan_to_num(0).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def from_uint8(pixels: np.ndarray) -> Tensor:
    """Invert `to_uint8`: [H, W, C] or [H, W] of 8 bits to float32 [C, H, W] or [H, W] in [0, 1]."""
    image = torch.from_numpy(pixels.astype(np.float32) / 255)
    return image.permute(2, 0, 1).contiguous() if image.dim() == 3 else image


def with_alpha(image: Tensor, alpha: Tensor) -> Tensor:  # [..., 4, H, W]
    """Add alpha [..., H, W] to an image [..., 3, H, W] that was drawn on black, its colour divided by alpha
    as PNG and films have it."""
    alpha = alpha.unsqueeze(-3)
    color = (image / alpha.clamp_min(1e-6)).clamp(0, 1) * (alpha > 0)
    return torch.cat([color, alpha], dim=-3)


def write_png(path: str | Path, image: Tensor | np.ndarray) -> None:
    """Write a tensor [3 or 4, H, W] or [H, W], or an 8-bit array [H, W, 3 or 4] or [H, W]; makes the folder.

    Four channels are RGB and alpha, the colour not multiplied by it.

    Raises WriteError where the file system refuses; what was there is then still there.
    """
    pixels = to_uint8(image) if isinstance(image, Tensor) else image
    data = png_bytes(pixels)
    with replacing(path, is_flushed=False) as partial:
        partial.write_bytes(data)


def jpeg_bytes(pixels: np.ndarray, quality: int, *flags: int) -> bytes:
    """An 8-bit image [H, W, 3] as JPEG; `flags`: more of OpenCV's."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, *flags]
    is_encoded, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert is_encoded, "the JPEG encoder refused an 8-bit image"
    return data.tobytes()


def read_png(path: str | Path) -> np.ndarray:
    """Read an image file as an 8-bit array [H, W, 3]. Raises UserError where it is missing or damaged."""
    try:
        data = Path(path).read_bytes()
        check_picture_size(data)
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, ValueError, cv2.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if pixels is None:
        raise UserError(f"{path}: no readable image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def depth_range(depth: Tensor, alpha: Tensor) -> tuple[float, float]:
    """Find the depths between which a frame lies, without its outermost percents; (0, 1) for an empty frame.

    `depth` [H, W] is the sum of weight x camera z, as the rasterizer returns it; `alpha` [H, W].
    """
    is_solid = alpha > 0.5
    if not is_solid.any():
        return 0.0, 1.0
    quantiles = torch.tensor([0.01, 0.99], device=depth.device)
    # torch.quantile refuses more than 2^24 values.
    distances = (depth[is_solid] / alpha[is_solid]).float()[: 2**24]
    near, far = torch.quantile(distances, quantiles).tolist()
    return near, far


def depth_to_color(depth: Tensor, alpha: Tensor, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Colour depth / alpha, red is near, blue is far, grey is empty; returns 8 bits [H, W, 3].

    `depth` and `alpha` are as in `depth_range`, whose result on this frame is the default of `limits`
    (the distances shown as reddest and bluest; give the same ones to all frames of a video).
    """
    return color_nearness(*nearness_of(depth, alpha, limits or depth_range(depth, alpha)))


def nearness_of(depth: Tensor, alpha: Tensor, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """What `color_nearness` colours, where the depth [..., H, W] lies: nearness, uint8, and its weight."""
    near, far = limits
    distance = depth / alpha.clamp_min(1e-6)
    nearness = (far - distance) / max(far - near, 1e-6)
    return _in_8_bits(nearness), alpha.detach().float().clamp(0, 1)


def color_nearness(nearness: Tensor, weight: Tensor) -> np.ndarray:
    """The second half of `depth_to_color`, on the host."""
    colors = _colorize(nearness.cpu().numpy(), cv2.COLORMAP_TURBO).astype(np.float32)
    # Towards grey by 1 - weight, in place: a tenth of the time.
    colors -= NEUTRAL_GREY
    colors *= weight.cpu().numpy()[..., None]
    colors += NEUTRAL_GREY
    return np.rint(colors, out=colors).astype(np.uint8)


def error_map(image: Tensor, truth: Tensor, max_error: float = 0.25) -> np.ndarray:
    """Colour the mean absolute difference over channels of two images [3, H, W]; returns 8 bits [H, W, 3].

    Black is none, white is `max_error` and more.
    """
    difference = (image.clamp(0, 1) - truth.clamp(0, 1)).abs().mean(dim=0)  # [H, W]
    return _colorize(to_uint8(difference / max_error), cv2.COLORMAP_HOT)


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """Join 8-bit images [H, W, 3] of equal height from left to right."""
    heights = {image.shape[0] for image in images}
    if len(heights) != 1:
        raise ValueError(f"images: expected equal heights, got {sorted(heights)}")
    return np.concatenate(list(images), axis=1)


def with_label(image: np.ndarray, text: str) -> np.ndarray:
    """Put a thin dark strip with `text` above an 8-bit image [H, W, 3]; text that is too wide is shrunk."""
    strip = np.full((_LABEL_HEIGHT, image.shape[1], 3), _LABEL_BACKGROUND, np.uint8)
    font, scale, margin = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 4
    # Widths follow the scale in steps (OpenCV 5 rounds the size of its glyphs): look for one that fits.
    while scale > 0.1 and cv2.getTextSize(text, font, scale, 1)[0][0] > image.shape[1] - 2 * margin:
        scale *= 0.95
    if scale > 0.1:
        color = (_LABEL_COLOR,) * 3
        cv2.putText(strip, text, (margin, _LABEL_HEIGHT - 5), font, scale, color, 1, cv2.LINE_AA)
    return np.concatenate((strip, image), axis=0)


def contact_sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]], max_width: int = 320) -> np.ndarray:
    """Lay out rows of (label, 8-bit image [H, W, 3]) as one image, a label above each.

    Images wider than `max_width` pixels are scaled down. Rows may differ in length and images in size.
    """
    cells = [[with_label(shrunk(image, max_width), label) for label, image in row] for row in rows]
    if not any(cells):
        raise ValueError("rows: expected at least one image")
    num_columns = max(map(len, cells))
    widths = [max(row[i].shape[1] for row in cells if i < len(row)) for i in range(num_columns)]
    heights = [max((cell.shape[0] for cell in row), default=0) for row in cells]
    gap = 2
    shape = (sum(heights) + gap * (len(cells) - 1), sum(widths) + gap * (num_columns - 1), 3)
    sheet = np.full(shape, _LABEL_BACKGROUND, np.uint8)
    for i, row in enumerate(cells):
        top = sum(heights[:i]) + gap * i
        for j, cell in enumerate(row):
            left = sum(widths[:j]) + gap * j
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def shrunk(image: np.ndarray, max_width: int) -> np.ndarray:
    """An 8-bit image at most so wide, by means over areas."""
    height, width = image.shape[:2]
    if width <= max_width:
        return image
    size = (max_width, max(1, round(height * max_width / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _colorize(levels: np.ndarray, colormap: int) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)
