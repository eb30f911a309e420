"""An avatar that prepare.py and train.py made of a rendered head's video, in views whose truth is known.

    python prepare.py head_a.mp4 data/x;  python train.py -s data/x -m output/x -w
    python benchmarks/truth_views.py output/x data/x head_a

TRUTH is a data set of the same video with its true poses, and truth_index.json that names further frames as
views of known yaw and expression. The two head frames differ by one similarity, which is estimated from the
frames of the video that both have: by its rotation, then by where the head is on the picture and how large.
An expression that a frame of the video has is driven by what prepare.py found in that frame; others by the
true coefficients, which are those of another model.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import scipy.optimize
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.turned import as_text, by_yaw, score_view
from gaussian_renderer import render
from preparation.geometry.rigid import mean_rotation
from scene import Drive, load_avatar
from scene.cameras import Camera
from scene.dataset_readers import Clip, FrameRecord, read_transforms
from scoring.grouping import YAW_EDGES, yaw_of
from utils.errors import exit_on_user_error
from utils.json_files import read_json
from utils.metrics import score
from utils.progress import Progress

# Head units: points around the origin, as large as a head.
_POINTS = 0.3 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, 0]], np.float64)
# Coefficients that differ by no more in a frame of the video are the same expression.
_SAME = 1e-4


def similarity(found: Clip, truth: Clip) -> np.ndarray:
    """The similarity [4, 4] that takes the true head frame to the found one, from the frames of both."""
    known = {frame.image_id: frame for frame in truth.frames}
    pairs = [(frame, known[frame.image_id]) for frame in found.frames if frame.image_id in known]
    turns = np.stack([a.camera_to_world[:3, :3] @ b.camera_to_world[:3, :3].T for a, b in pairs])
    rotation = mean_rotation(turns)
    wanted = np.stack([_project(truth, b, _POINTS) for _, b in pairs])

    def residual(values: np.ndarray) -> np.ndarray:
        points = values[0] * _POINTS @ rotation.T + values[1:]
        return (np.stack([_project(found, a, points) for a, _ in pairs]) - wanted).ravel()

    scale, *shift = scipy.optimize.least_squares(residual, [1.0, 0, 0, 0]).x
    change = np.eye(4)
    change[:3, :3], change[:3, 3] = scale * rotation, shift
    return change


def _project(clip: Clip, frame: FrameRecord, points: np.ndarray) -> np.ndarray:  # [N, 2]
    return clip.camera(frame).project(torch.from_numpy(points))[:, :2].numpy()


def seen_from(camera: Camera, change: np.ndarray) -> Camera:
    """A camera of the true head frame in the found one: it draws the same picture."""
    scale = np.cbrt(np.linalg.det(change[:3, :3]))
    pose = camera.world_to_camera.double().numpy() @ np.linalg.inv(change)
    pose[:3] *= scale
    return camera.posed(torch.from_numpy(pose).float())


def expression_for(view: FrameRecord, found: Clip, truth: Clip) -> np.ndarray:
    """What drives the avatar where the truth shows `view`."""
    by_id = {frame.image_id: frame for frame in found.frames}
    shared = [frame for frame in truth.frames if frame.image_id in by_id]
    distance = [np.abs(frame.expression - view.expression).max() for frame in shared]
    nearest = int(np.argmin(distance))
    if distance[nearest] < _SAME:
        return by_id[shared[nearest].image_id].expression
    values = dict(zip(truth.expression_names, view.expression, strict=True))
    return np.array([values.get(name, 0.0) for name in found.expression_names], np.float32)


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, or a model's file")
    parser.add_argument("found", type=Path, help="data set that it learned from")
    parser.add_argument("truth", type=Path, help="data set with truth_index.json")
    options = parser.parse_args()
    avatar = load_avatar(options.run)
    found, truth = read_transforms(options.found), read_transforms(options.truth)
    index = {view["img_id"] for view in read_json(options.truth / "truth_index.json")["truth"]}
    change, rows = similarity(found, truth), []
    views = [frame for frame in truth.frames if frame.image_id in index]
    with Progress(len(views), "drawing") as progress:
        for view in views:
            camera = seen_from(truth.camera(view), change)
            drive = Drive(torch.from_numpy(expression_for(view, found, truth)))
            with torch.no_grad():
                drawn = render(camera, avatar.head(camera, drive), torch.ones(3)).image.clamp(0, 1)
            matte = cv2.imread(str(view.mask_path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
            picture = cv2.imread(str(view.image_path))[..., ::-1].astype(np.float32) / 255
            picture = picture * matte[..., None] + 1 - matte[..., None]
            ssim = float(score(drawn, torch.from_numpy(picture).permute(2, 0, 1)).ssim)
            pictures = drawn.permute(1, 2, 0).double().numpy(), picture.astype(np.float64)
            scores = score_view(*pictures, matte, ssim)
            rows.append({"image_id": view.image_id, "yaw": yaw_of(view.camera_to_world), **scores})
            progress.update()
    print(as_text(by_yaw(rows, YAW_EDGES)))


if __name__ == "__main__":
    main()
