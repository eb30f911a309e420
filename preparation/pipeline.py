"""What happens to a video on its way to a data set: named steps over one record.

What a step found is kept in out/.prepare until the data set is complete, so that an interrupted run is taken
up again by the same command; transforms.json is written last.
"""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from arguments import PreparationParams
from preparation import steps
from preparation.data_set.layout import Layout, open_output
from preparation.models.chosen_networks import Networks, find_networks
from preparation.video import frame_size, open_video
from preparation.work import Work


class Step(NamedTuple):
    """One thing that happens to a clip; its name is the one in the report."""

    name: str
    run: Callable[[Work], Work]
    is_wanted: Callable[[Work], bool] = lambda work: True


STEPS = (
    Step("tracking", steps.track_face),
    Step("head poses", steps.solve_head_poses),
    Step("head model", steps.fit_head_model, is_wanted=lambda work: work.networks.head is not None),
    Step("frames", steps.cut_out_frames),
    Step("aligning pixels", steps.align_pixels),
    Step("mattes", steps.matte_person),
    Step("outline", steps.fit_to_outline, is_wanted=lambda work: work.head_fit is not None),
    Step("parsing", steps.parse_by_head, is_wanted=lambda work: work.parses_by_head),
    Step("torso", steps.follow_torso, is_wanted=lambda work: work.options.torso),
    Step("report", steps.write_report),
    Step("data set", steps.write_data_set),
)


def prepare(options: PreparationParams, networks: Networks | None = None) -> dict[str, Any]:
    """Make the data set; returns its report. Raises UserError.

    networks: found, or downloaded, where they are not given.
    """
    work = take_steps(begin(options, networks), STEPS)
    shutil.rmtree(work.layout.scratch)
    return work.report


def begin(options: PreparationParams, networks: Networks | None = None) -> Work:
    """Open the video and the folder; nothing is downloaded for a file that is no video."""
    video = open_video(options.video, options.start, options.end, options.rotate)
    networks = networks or find_networks(options)
    layout = Layout(options.out)
    open_output(layout, options)
    # 59.94 is 60.
    every = max(1, math.ceil(video.rate / options.fps - 0.02))
    return Work(options, networks, video, layout, frame_size(video), every)


def take_steps(work: Work, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> Work:
    """Take those steps that are wanted, one after another, and note how long each took."""
    for step in steps:
        if step.is_wanted(work):
            started = clock()
            work = step.run(work)
            work = replace(work, seconds={**work.seconds, step.name: round(clock() - started, 3)})
    return work
