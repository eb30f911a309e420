"""Make a small clip from a larger one: every n-th frame, at another size, in the same layout.

    python tools/make_demo_clip.py data/obama data/demo --every 2 --width 256

`data/demo` was made with it. Frame ids are counted anew from 0; `src_frame` still tells the frame of the
source video.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scene.dataset_readers import Clip, FrameRecord, read_clip
from utils.errors import exit_on_user_error

JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 90),
    *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 9]


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="folder of the larger clip, with parsing maps")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--every", type=int, default=2, help="take every n-th frame (default: 2)")
    parser.add_argument("--width", type=int, default=256, help="width of the frames [pixels] (default: 256)")
    arguments = parser.parse_args()

    clip = read_clip(arguments.source, only_head=True)
    size = arguments.width, round(clip.height * arguments.width / clip.width)
    for folder in ("ori_imgs", "mask", "parsing"):
        (arguments.target / folder).mkdir(parents=True, exist_ok=True)
    records = clip.frames[:: arguments.every]
    for image_id, record in enumerate(records):
        write_frame(record, image_id, arguments.target, size)
    write_transforms(clip, len(records), arguments.every, arguments.target, size)
    write_head(clip, arguments.target, size)


def write_frame(record: FrameRecord, image_id: int, target: Path, size: tuple[int, int]) -> None:
    """Write image and matte averaged over areas, and the parsing map with its colours kept pure."""
    image = cv2.resize(cv2.imread(str(record.image_path)), size, interpolation=cv2.INTER_AREA)
    matte = cv2.imread(str(record.mask_path), cv2.IMREAD_GRAYSCALE)
    matte = cv2.resize(matte, size, interpolation=cv2.INTER_AREA)
    parsing = cv2.imread(str(record.parsing_path))
    parsing = cv2.resize(parsing, size, interpolation=cv2.INTER_NEAREST_EXACT)
    cv2.imwrite(str(target / "ori_imgs" / f"{image_id}.jpg"), image, JPEG)
    cv2.imwrite(str(target / "mask" / f"{image_id + 1}.png"), matte, PNG)
    cv2.imwrite(str(target / "parsing" / f"{image_id}.png"), parsing, PNG)


def write_transforms(clip: Clip, count: int, every: int, target: Path, size: tuple[int, int]) -> None:
    """Write cameras and expressions, one frame a line."""
    source = json.loads((clip.root / "transforms.json").read_text(encoding="utf-8"))
    entries = sorted(source["frames"], key=lambda entry: entry["img_id"])[::every]
    scale = np.divide(size, (clip.width, clip.height))
    head = {
        "h": size[1],
        "w": size[0],
        "fx": clip.fx * scale[0],
        "fy": clip.fy * scale[1],
        "cx": clip.cx * scale[0],
        "cy": clip.cy * scale[1],
        "exp_names": clip.expression_names,
    }
    lines = [json.dumps({**entries[i], "img_id": i}) for i in range(count)]
    text = json.dumps(head)[:-1] + ', "frames": [\n' + ",\n".join(lines) + "\n]}\n"
    (target / "transforms.json").write_text(text, encoding="utf-8")


def write_head(clip: Clip, target: Path, size: tuple[int, int]) -> None:
    """Write the fitted head, if the larger clip has one: in head units, but for the focal length."""
    if (clip.root / "head.json").is_file():
        head = json.loads((clip.root / "head.json").read_text(encoding="utf-8"))
        head["focal"]["pixels"] *= size[0] / clip.width
        (target / "head.json").write_text(json.dumps(head) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
