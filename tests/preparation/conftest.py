from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from arguments import PreparationParams
from preparation import pipeline
from preparation.geometry.rigid import Poses
from preparation.models.chosen_networks import Networks
from tests.preparation.synthetic_head import (
    FOCAL,
    StubTracker,
    camera,
    draw,
    expressions,
    moving_poses,
    observe,
    stub_matting,
    write_number,
)
from utils.video import VideoWriter

NUM_FRAMES, RATE = 75, 25.0


class Clip(NamedTuple):
    """A video of the synthetic head, with the truth about it."""

    path: Path
    poses: Poses
    expressions: np.ndarray  # [F, 3]
    landmarks: np.ndarray  # [F, 478, 3] as the detector sees them, noisy

    def networks(self, faces: dict[int, int] | None = None) -> Networks:
        """Stubs; `faces` says in which frames not one face is found but so many."""
        return Networks(
            face_tracker=lambda: StubTracker(self.landmarks, self.expressions, faces),
            matting=lambda: stub_matting,
        )


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Clip:
    """Three seconds of the synthetic head."""
    path = tmp_path_factory.mktemp("clip") / "head.mp4"
    poses, view = moving_poses(NUM_FRAMES), camera()
    with VideoWriter(path, fps=RATE) as video:
        for index in range(NUM_FRAMES):
            frame = draw(poses, index, view)
            write_number(frame, index)
            video.write(frame)
    return Clip(path, poses, expressions(NUM_FRAMES), observe(poses, view, noise=0.4, outliers=0.02))


class Finished(NamedTuple):
    """A data set that is only looked at."""

    out: Path
    report: dict


@pytest.fixture(scope="session")
def finished(clip, tmp_path_factory) -> Finished:
    """The data set of the synthetic head, with everything that is in one."""
    out = tmp_path_factory.mktemp("finished") / "data"
    options = PreparationParams(clip.path, out, focal=FOCAL, size=256, quiet=True)
    return Finished(out, pipeline.prepare(options, clip.networks()))
