"""Live Link Face's CSV: written as its grammar says, read in any order and case."""

import math

import numpy as np
import pytest

from rendering.driving.head_angles import angles_of, rotations_of, usual_rotation
from rendering.driving.live_link import ARKIT_NAMES, read_live_link, write_live_link
from rendering.driving.reading import read_driving
from rendering.driving.sequence import DrivingSequence
from utils.errors import UserError

# The header of the application, as it writes it.
HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,"
    "EyeSquintLeft,EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,"
    "EyeSquintRight,EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,"
    "MouthRight,MouthLeft,MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,"
    "MouthDimpleRight,MouthStretchLeft,MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,"
    "MouthShrugUpper,MouthPressLeft,MouthPressRight,MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,"
    "MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,"
    "CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,TongueOut,HeadYaw,HeadPitch,HeadRoll,"
    "LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def written(path, rows, header=HEADER):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def rows_of(timecodes, seed=0):
    random = np.random.default_rng(seed)
    return [[code, 61, *random.uniform(0, 1, 61).round(5)] for code in timecodes]


def column(sequence, name):
    return sequence.coefficients[:, sequence.names.index(name)]


def test_a_file_is_read_by_the_names_of_its_columns(tmp_path):
    rows = rows_of([f"10:59:59:{i:02d}.250" for i in range(60)] + ["11:00:00:00.250"])
    sequence = read_live_link(written(tmp_path / "take.csv", rows), default_rate=25)
    names = HEADER.split(",")
    assert sequence.names == ARKIT_NAMES == tuple(n[0].lower() + n[1:] for n in names[2:54])
    assert sequence.rate == pytest.approx(60) and len(sequence) == 61 and not sequence.notes
    for name in ("JawOpen", "TongueOut", "MouthLeft"):
        expected = [row[names.index(name)] for row in rows]
        assert column(sequence, name[0].lower() + name[1:]) == pytest.approx(expected)
    angles = np.array([row[names.index("HeadYaw") :][:3] for row in rows], float)
    assert angles_of(sequence.rotations) == pytest.approx(angles)


def test_order_case_and_number_of_columns_do_not_matter(tmp_path):
    rows = rows_of([f"00:00:01:{i:02d}.000" for i in range(4)])
    order = np.random.default_rng(1).permutation(54)  # neither head nor eyes
    names = HEADER.split(",")
    header = ",".join(names[i].lower() if i % 2 else names[i][0].lower() + names[i][1:] for i in order)
    shuffled = [[row[i] for i in order] for row in rows]
    straight = read_live_link(written(tmp_path / "a.csv", rows), 25)
    sequence = read_live_link(written(tmp_path / "b.csv", shuffled, "\ufeff" + header), 25)
    assert set(sequence.names) == set(ARKIT_NAMES) and sequence.rotations is None
    for name in ARKIT_NAMES:
        assert np.array_equal(column(sequence, name), column(straight, name))


def test_time_goes_on_over_midnight_and_what_was_dropped_is_interpolated(tmp_path):
    codes = ["23:59:59:28.000", "23:59:59:29.000", "00:00:00:00.000", "00:00:00:03.000", "00:00:00:04.000"]
    rows = rows_of(codes)
    sequence = read_live_link(written(tmp_path / "take.csv", rows), 25)
    assert sequence.rate == pytest.approx(30) and len(sequence) == 7
    jaw = [row[HEADER.split(",").index("JawOpen")] for row in rows]
    between = jaw[2] + (jaw[3] - jaw[2]) * np.array([1, 2]) / 3
    assert column(sequence, "jawOpen") == pytest.approx([*jaw[:3], *between, *jaw[3:]], abs=1e-6)


def test_rows_without_a_face_are_left_out_with_a_line(tmp_path):
    rows = rows_of([f"00:00:01:{i:02d}.000" for i in range(5)])
    rows[2] = [rows[2][0], 0, *[""] * 61]
    sequence = read_live_link(written(tmp_path / "take.csv", rows), 25)
    assert len(sequence) == 5 and sequence.notes == (f"{tmp_path}/take.csv: 1 rows without a face, left out",)


def test_angles_in_degrees_are_suspected_and_read(tmp_path):
    rows = rows_of(["00:00:01:00.000", "00:00:01:01.000"])
    for row in rows:
        row[54:57] = 30, -10, 5
    path = written(tmp_path / "take.csv", rows)
    assert "--driving_angles degrees" in read_live_link(path, 25).notes[0]
    sequence = read_live_link(path, 25, in_degrees=True)
    assert not sequence.notes
    assert np.rad2deg(angles_of(sequence.rotations)) == pytest.approx(np.tile([30, -10, 5], (2, 1)))


@pytest.mark.parametrize("rate", [12, 20, 24, 25, 29.97, 30, 50, 59.94, 60])
def test_what_is_written_is_what_the_application_writes_and_reads_back(tmp_path, rate):
    random = np.random.default_rng(0)
    names = ("_neutral", "jawOpen", "eyeBlinkRight")
    values = random.uniform(0, 1, (130, 3)).astype(np.float32)
    rotations = rotations_of(random.uniform(-1, 1, (130, 3)))
    path = tmp_path / "out.csv"
    write_live_link(path, DrivingSequence(path, names, values, rate, rotations))
    header, *lines = path.read_text().splitlines()
    assert header == HEADER and len(lines) == 130
    assert all(line.split(",")[1] == "61" and len(line.split(",")) == 63 for line in lines)
    assert lines[0].startswith("00:00:00:00.000,") and lines[math.ceil(rate)].startswith("00:00:01:00.")
    sequence = read_live_link(path, 12)
    assert sequence.rate == pytest.approx(rate, rel=1e-3) and len(sequence) == 130
    assert column(sequence, "jawOpen") == pytest.approx(values[:, 1], abs=1e-6)
    assert column(sequence, "eyeBlinkRight") == pytest.approx(values[:, 2], abs=1e-6)
    assert not column(sequence, "tongueOut").any()
    assert sequence.rotations == pytest.approx(rotations, abs=1e-6)


def test_coefficients_without_an_arkit_name_are_not_written(tmp_path):
    sequence = DrivingSequence(tmp_path, ("shape0",), np.zeros((2, 1), np.float32), 25)
    with pytest.raises(
        UserError, match="--write_csv: expected coefficients with ARKit's names, found shape0"
    ):
        write_live_link(tmp_path / "out.csv", sequence)
    assert not (tmp_path / "out.csv").exists()


CODES = [f"00:00:01:{i:02d}.000" for i in range(3)]


def changed(position, value):
    rows = rows_of(CODES)
    rows[1][position] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (changed(19, "wide"), HEADER, "line 3: jawOpen: expected a number, found 'wide'"),
        (changed(19, "nan"), HEADER, "line 3: jawOpen: expected a number, found 'nan'"),
        (changed(0, "12.5"), HEADER, "line 3: Timecode: expected HH:MM:SS:FF.mmm, found '12.5'"),
        (changed(0, "00:00:00:00.0"), HEADER, "frame 1: time 0 s: expected later than 1 s"),
        (changed(0, "00:00:01:400.0"), HEADER, "Timecode: expected frames within the second, found 400"),
        (changed(0, "09:00:01:00.0")[:2], HEADER, None),
        ([row[:9] for row in rows_of(CODES)], HEADER, "line 2: expected 63 columns, found 9"),
        ([[1, 2]], "a,b", "line 1: expected columns such as JawOpen and EyeBlinkLeft, found none"),
        ([[1, 2]], "JawOpen,jawOpen", "line 1: column jawopen occurs 2 times; expected once"),
        ([], HEADER, "expected rows with coefficients, found none"),
        ([], "", "expected a header and rows, found nothing"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, rows, header, message):
    path = written(tmp_path / "take.csv", rows, header)
    if message is None:
        assert len(read_driving(path, 25)) == 2
        return
    with pytest.raises(UserError) as error:
        read_driving(path, 25)
    assert str(error.value) == f"{path}: {message}"


def test_gaps_far_longer_than_the_file_are_refused(tmp_path):
    codes = [*(f"00:00:01:{i:02d}.0" for i in range(4)), "11:00:00:00.0"]
    with pytest.raises(UserError, match="5 frames over 39599 s: expected steps of about"):
        read_driving(written(tmp_path / "take.csv", rows_of(codes)), 25)


def test_angles_turn_the_head_as_described():
    nose = np.array([0, 0, 1.0])
    right, down = rotations_of([[0.3, 0, 0], [0, 0.3, 0]]) @ nose
    assert right[0] > 0 and down[1] < 0
    against_the_clock = rotations_of([[0, 0, 0.3]])[0] @ [1.0, 0, 0]
    assert against_the_clock[1] > 0


def test_the_usual_rotation_is_one_of_the_many_not_of_the_few():
    rotations = rotations_of(np.array([[0.1, 0, 0]] * 5 + [[1, 0, 0], [-1, 0.4, 0]]))
    assert np.array_equal(usual_rotation(rotations), rotations[0])
