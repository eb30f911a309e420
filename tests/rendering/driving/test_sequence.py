import numpy as np
import pytest

from rendering.driving.data_set import read_data_set
from rendering.driving.sequence import DrivingSequence
from tests.synthetic import camera_to_world, edited_json, write_clip


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


@pytest.mark.parametrize("with_times", [True, False])
def test_frames_that_were_left_out_are_bridged_and_time_stays_right(tmp_path, with_times):
    """Of 8 frames the 4th to 6th are gone: a motion that goes on evenly goes on evenly."""
    kept = [10, 11, 12, 16, 17]
    root = write_clip(tmp_path / "clip", image_ids=kept)
    with edited_json(root) as document:
        for entry in document["frames"]:
            step = entry["img_id"] - 10
            entry["exp_ori"] = [step / 10, 0, 0, 0, 0]
            entry["transform_matrix"] = camera_to_world(0.02 * step).tolist()
            if with_times:
                entry["time"] = 3 + step / 25
    sequence = read_data_set(root, 25)
    assert sequence.rate == pytest.approx(25) and len(sequence) == 8
    assert sequence.coefficients[:, 0] == pytest.approx(np.arange(8) / 10, abs=1e-6)
    assert "3 frames were left out" in sequence.notes[0]
    assert [path.stem for path in sequence.pictures] == ["10", "11", "12", "12", "12", "12", "16", "17"]
    for i, rotation in enumerate(sequence.rotations):
        assert rotation @ camera_to_world(0.02 * i)[:3, :3] == pytest.approx(np.eye(3), abs=1e-5)


def test_frames_of_which_only_every_fifth_is_there_lack_none(tmp_path):
    sequence = read_data_set(write_clip(tmp_path / "clip", image_ids=[0, 5, 10, 15]), 25)
    assert len(sequence) == 4 and sequence.rate == pytest.approx(25) and not sequence.notes


def test_where_another_piece_of_film_begins_the_next_frame_follows(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=8)
    with edited_json(root) as document:
        for i, entry in enumerate(document["frames"]):
            entry["time"] = (i if i < 5 else i - 4) / 25
    sequence = read_data_set(root, 10)
    assert len(sequence) == 8 and sequence.rate == pytest.approx(25) and not sequence.notes
