"""A tiny synthetic clip on disk, for tests: a ball on a gradient, seen by a camera that moves a little.

root = write_clip(tmp_path / "clip", num_frames=12)
with edited_json(root) as document:
    document["frames"][3]["exp_ori"] = [0.0]
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

DISTANCE = 3.0  # of the camera from the head, world units
BALL_COLOR = (200, 120, 60)  # RGB


def write_clip(
    root: Path,
    num_frames: int = 12,
    width: int = 32,
    height: int = 24,
    num_expressions: int = 5,
    image_ids: list[int] | None = None,
    mask_offset: int = 1,
    suffix: str = ".png",
) -> Path:
    """Write frames, mattes, parsing maps and transforms.json; return the folder.

    The ball sits at the origin and fills the middle of the image; its upper half is "head" in the parsing
    maps. Expression coefficient 0 brightens it, the others are noise; the camera yaws by +-10 degrees over
    the clip.
    """
    random = np.random.default_rng(0)
    for folder in ("ori_imgs", "mask", "parsing"):
        (root / folder).mkdir(parents=True)
    entries = []
    for step, image_id in enumerate(image_ids or range(num_frames)):
        expression = random.uniform(0, 1, num_expressions)
        image, matte, parsing = _draw(width, height, expression[0])
        cv2.imwrite(str(root / "ori_imgs" / f"{image_id}{suffix}"), image[..., ::-1])
        cv2.imwrite(str(root / "mask" / f"{image_id + mask_offset}.png"), matte)
        cv2.imwrite(str(root / "parsing" / f"{image_id}.png"), parsing[..., ::-1])
        yaw = math.radians(10) * math.sin(2 * math.pi * step / num_frames)
        entries.append(
            {
                "img_id": image_id,
                "exp_ori": expression.tolist(),
                "transform_matrix": camera_to_world(yaw).tolist(),
            }
        )
    document = {
        "h": height,
        "w": width,
        "fx": 3.0 * width,
        "fy": 3.0 * width,
        "cx": width / 2,
        "cy": height / 2,
        "exp_names": [f"shape{i}" for i in range(num_expressions)],
        "frames": entries,
    }
    (root / "transforms.json").write_text(json.dumps(document))
    return root


@contextmanager
def edited_json(root: Path) -> Iterator[dict]:
    """Change transforms.json in place: `with edited_json(root) as document: ...`"""
    path = root / "transforms.json"
    document = json.loads(path.read_text())
    yield document
    path.write_text(json.dumps(document))


def camera_to_world(yaw: float) -> np.ndarray:  # [4, 4] OpenGL axes
    """A camera on a circle around the y axis that looks at the origin; yaw in radians, 0 is on +z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, 0, s, DISTANCE * s], [0, 1, 0, 0], [-s, 0, c, DISTANCE * c], [0, 0, 0, 1]])


def _draw(width: int, height: int, brightness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return RGB image, matte and RGB parsing map, uint8."""
    y, x = np.mgrid[:height, :width] + 0.5
    radius = 0.35 * height
    distance = np.hypot(x - width / 2, y - height / 2)
    matte = np.clip(radius - distance + 0.5, 0, 1)  # [H, W], soft by one pixel
    background = np.stack([255 * x / width, 255 * y / height, np.full_like(x, 40)], axis=-1)
    ball = np.array(BALL_COLOR) * (0.7 + 0.3 * brightness)
    image = matte[..., None] * ball + (1 - matte[..., None]) * background
    parsing = np.full((height, width, 3), 255)
    parsing[matte > 0] = (0, 255, 0)
    parsing[(matte > 0) & (y < height / 2)] = (0, 0, 255)
    return image.round().astype(np.uint8), (255 * matte).round().astype(np.uint8), parsing.astype(np.uint8)
