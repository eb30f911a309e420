import numpy as np
import pytest

from rendering.driving.data_set import read_data_set
from rendering.driving.sequence import DrivingSequence
from tests.synthetic import edited_json, write_clip


def ramp(num_frames, rate):
    values = np.arange(num_frames, dtype=np.float32)[:, None]
    return DrivingSequence(None, ("jawOpen",), values, rate)


@pytest.mark.parametrize("rate", [10, 24, 30, 60, 100])
def test_another_rate_keeps_the_speed(rate):
    sequence = ramp(90, 30).at_rate(rate)
    assert sequence.rate == rate and len(sequence) == 3 * rate
    seconds = np.arange(len(sequence)) / rate
    late = seconds - sequence.coefficients[:, 0] / 30
    assert late.min() >= -1e-5 and late.max() < 1 / 30


def test_thinning_spreads_frames_evenly():
    assert ramp(10, 30).thinned(4).coefficients[:, 0].tolist() == [0, 2, 5, 7]
    assert len(ramp(10, 30).thinned(0)) == len(ramp(10, 30).thinned(20)) == 10


def test_less_than_a_second_is_no_footage():
    assert not ramp(29, 30).is_footage and ramp(30, 30).is_footage


def test_a_data_set_is_a_driver(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=6)
    assert read_data_set(root, 17).rate == 17
    with edited_json(root) as document:
        for i, frame in enumerate(document["frames"]):
            frame["time"] = i / 12.5
        entries = document["frames"]
        document["frames"] = entries[::-1]
    sequence = read_data_set(root, 17)
    assert sequence.rate == pytest.approx(12.5) and sequence.names == tuple(f"shape{i}" for i in range(5))
    for i, entry in enumerate(entries):
        assert sequence.coefficients[i] == pytest.approx(entry["exp_ori"])
        # Inverse of camera-to-world: world is the head.
        assert sequence.rotations[i] @ np.array(entry["transform_matrix"])[:3, :3] == pytest.approx(np.eye(3))
        assert sequence.pictures[i].name == f"{i}.png" and sequence.pictures[i].is_file()
