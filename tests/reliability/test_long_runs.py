"""Runs that go on for long, and clips that are long: memory stays flat, and training begins soon."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from scene.dataset_readers import read_clip
from tests.reliability import tiny
from tests.reliability.test_kills import ROOT, Runner
from tests.synthetic import write_clip

SOAK_ITERATIONS = int(os.environ.get("SOAK_ITERATIONS", "20000"))
LONG_CLIP, SECONDS_TO_START = 20_000, 30
# Share by which the last quarter of a soak may need more memory than the second.
GROWTH = 0.02

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(3600)]


@pytest.fixture
def runner():
    runner = Runner()
    yield runner
    runner.close()


def resident(pid: int) -> float:
    """MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_of_a_long_run_is_flat(runner, tmp_path):
    clip, model = write_clip(tmp_path / "clip", num_frames=12), tmp_path / "run"
    flags = ["--iterations", str(SOAK_ITERATIONS), "--densify_until_iter", "20", "--save_minutes", "0.1"]
    pid = runner.start(tiny.arguments(clip, model, *flags), tmp_path / "log")
    samples = []
    while (code := runner.wait(pid, 0.2)) is None:
        samples.append(resident(pid))
    assert code == 0
    # Without the start, which imports and compiles.
    samples = samples[len(samples) // 20 :]
    quarter = len(samples) // 4
    second, last = np.median(samples[quarter : 2 * quarter]), np.median(samples[3 * quarter :])
    print(
        f"\n{SOAK_ITERATIONS} iterations: {second:.1f} MB in the second quarter, {last:.1f} in the last one"
    )
    assert last <= (1 + GROWTH) * second


def test_a_clip_of_twenty_thousand_frames_begins_soon(runner, tmp_path):
    """The demo clip over and over, its pictures linked."""
    clip, demo = tmp_path / "clip", ROOT / "data" / "demo"
    document = json.loads((demo / "transforms.json").read_text())
    frames, kept = document["frames"], read_clip(demo).frames
    suffix = kept[0].image_path.suffix
    for folder in ("ori_imgs", "mask"):
        (clip / folder).mkdir(parents=True)
    by_id = {frame["img_id"]: frame for frame in frames}
    document["frames"], document["mask_offset"] = [], 0
    for i in range(LONG_CLIP):
        # There and back, so that neighbours are alike.
        at = i % (2 * len(frames))
        at = min(at, 2 * len(frames) - 1 - at)
        document["frames"].append(by_id[kept[at].image_id] | {"img_id": i})
        os.link(kept[at].image_path.resolve(), clip / "ori_imgs" / f"{i}{suffix}")
        os.link(kept[at].mask_path.resolve(), clip / "mask" / f"{i}.png")
    (clip / "transforms.json").write_text(json.dumps(document))
    log, begun = tmp_path / "log", time.monotonic()
    flags = ["-s", str(clip), "-m", str(tmp_path / "run"), "--preset", "quick", "--device", "cpu", "--eval"]
    pid = runner.start([*flags, "--iterations", "20", "--test_frames", "5"], log)
    peak = seconds = 0
    while (code := runner.wait(pid, 0.1)) is None:
        peak = max(peak, resident(pid))
        if not seconds and log.is_file() and "start-up took" in log.read_text():
            seconds = time.monotonic() - begun
    assert code == 0, log.read_text()[-2000:]
    print(f"\n{LONG_CLIP} frames: training began after {seconds:.1f} s, at most {peak:.0f} MB")
    assert 0 < seconds < SECONDS_TO_START and peak < 6_000
