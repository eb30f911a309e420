"""A video of a face that drives an avatar: tracked only, without mattes, maps and torso.

What was found stays in a folder, so that the next film that the same video drives begins at once.
"""

import shutil
from pathlib import Path

from arguments import PreparationParams
from preparation import steps
from preparation.data_set.layout import Layout, fingerprint
from preparation.models.chosen_networks import Networks, find_trackers
from preparation.pipeline import Step, begin, take_steps
from preparation.video import open_video
from utils.errors import UserError
from utils.json_files import read_json, write_json

STEPS = (
    Step("tracking", steps.track_face),
    Step("head poses", steps.solve_head_poses),
    Step("head model", steps.fit_head_model),
    Step("frames", steps.cut_out_frames),
    Step("aligning pixels", steps.align_pixels),
    Step("data set", steps.write_data_set),
)
# Pixels: pictures are there to be looked at and to align poses.
SIZE = 512


def track_driver(video: Path, folder: Path, quiet: bool, networks: Networks | None = None) -> Path:
    """Make a data set of a video's poses, coefficients and pictures in `folder`, unless it is there already.

    networks: found, or downloaded, where they are not given. An interrupted run is taken up again. Raises
    UserError for what is no video, and where MediaPipe or a model is missing.
    """
    try:
        open_video(video)
    except UserError as error:
        expected = "expected the folder of a data set, a video, a .csv or a .json"
        raise UserError(f"--driving {video}: {expected} ({error})") from None
    options = PreparationParams(
        video=video, out=folder, size=SIZE, parsing="none", torso=False, quiet=quiet, overwrite=True
    )
    layout, made_from = Layout(folder), folder / "driver.json"
    wanted = fingerprint(options)
    if layout.transforms.is_file() and made_from.is_file() and read_json(made_from) == wanted:
        return folder
    take_steps(begin(options, networks or _trackers(options)), STEPS)
    write_json(made_from, wanted, allow_nan=False)
    shutil.rmtree(layout.scratch)
    return folder


def _trackers(options: PreparationParams) -> Networks:
    """What tracks a head, and nothing that finds a person."""
    trackers = find_trackers(options)
    return Networks(trackers.face_tracker, matting=_no_matting, head=trackers.head)


def _no_matting() -> None:
    raise AssertionError("a driver has no mattes")
