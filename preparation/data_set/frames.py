"""The frames of a data set, cut out of the video; what is there from an interrupted run stays."""

from itertools import islice

import cv2
import numpy as np

from preparation.data_set.images_and_arrays import write_image
from preparation.data_set.layout import Layout
from preparation.geometry.camera import Crop
from preparation.video import Video, read_frames
from utils.progress import track


def write_frames(
    video: Video,
    layout: Layout,
    image_ids: np.ndarray,  # [F]
    every: int,
    crop: Crop,
    size: int,
    quiet: bool = False,
) -> None:
    """Decode the video again and write the window of every frame that is kept, `size` pixels a side.

    every: of so many frames of the video one is an image; files that are there stay.
    """
    wanted = set(image_ids.tolist())
    missing = [i for i in sorted(wanted) if not layout.image(i).exists()]
    if not missing:
        return
    frames = islice(read_frames(video, crop=crop.window, every=every), max(wanted) + 1)
    interpolation = cv2.INTER_AREA if crop.side > size else cv2.INTER_CUBIC
    for image_id, frame in enumerate(track(frames, max(wanted) + 1, "writing frames", quiet=quiet)):
        if image_id in wanted and not layout.image(image_id).exists():
            write_image(layout.image(image_id), cv2.resize(frame, (size, size), interpolation=interpolation))
