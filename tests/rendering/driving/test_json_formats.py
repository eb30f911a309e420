"""JSON of others: Audio2Face's, and names with frames of weights."""

import copy
import json

import numpy as np
import pytest

from rendering.driving.reading import read_driving
from utils.errors import UserError

NAMES = ["jawOpen", "eyeBlinkLeft", "mouthFunnel"]
WEIGHTS = np.random.default_rng(0).uniform(0, 1, (5, 3)).round(4).tolist()
AUDIO2FACE = {"exportFps": 60, "numPoses": 3, "numFrames": 5, "facsNames": NAMES, "weightMat": WEIGHTS}
BEAT = {
    "names": NAMES,
    "frames": [{"weights": row, "time": i / 30, "rotation": []} for i, row in enumerate(WEIGHTS)],
}


def written(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(("document", "rate"), [(AUDIO2FACE, 60), (BEAT, 30)])
def test_both_forms_are_read(tmp_path, document, rate):
    sequence = read_driving(written(tmp_path / "x.json", document), 25)
    assert sequence.names == tuple(NAMES) and sequence.rate == pytest.approx(rate) and not sequence.notes
    assert np.array_equal(sequence.coefficients, np.array(WEIGHTS, np.float32))
    assert sequence.rotations is None and not sequence.is_footage


def test_frames_without_times_play_at_the_given_rate_with_a_line(tmp_path):
    frames = [{"weights": row} for row in WEIGHTS]
    sequence = read_driving(written(tmp_path / "x.json", {"names": NAMES, "frames": frames}), 12)
    assert sequence.rate == 12 and "no time: taken as 12 frames/s" in sequence.notes[0]


def without(document, key):
    return {name: value for name, value in document.items() if name != key}


def with_frame(entry):
    document = copy.deepcopy(BEAT)
    document["frames"][2] = entry
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**AUDIO2FACE, "exportFps": 0}, "exportFps: expected frames per second, found 0"),
        (without(AUDIO2FACE, "exportFps"), "exportFps: expected frames per second, found null"),
        ({**AUDIO2FACE, "numPoses": 46}, "numPoses: expected 3 as facsNames has, found 46"),
        ({**AUDIO2FACE, "numFrames": 6}, "numFrames: expected 5 as weightMat has, found 6"),
        (without(AUDIO2FACE, "weightMat"), "weightMat: expected a list with something in it, found nothing"),
        (
            {**AUDIO2FACE, "numFrames": 1, "weightMat": [[0, 1]]},
            "weightMat[0]: expected 3 numbers, one for each name, found 2",
        ),
        (
            {**AUDIO2FACE, "facsNames": ["a", 2, "c"]},
            'facsNames: expected a list of names, found ["a", 2, "c"]',
        ),
        ({**BEAT, "names": ["a", "b", "a"]}, "names: 'a' occurs 2 times; expected once"),
        ({**BEAT, "frames": []}, "frames: expected a list with something in it, found []"),
        (with_frame({"time": 1}), 'frames[2]: expected an object with weights, found {"time": 1}'),
        (
            with_frame({"weights": [0, "x", 0], "time": 1}),
            'frames[2].weights[1]: expected a number, found "x"',
        ),
        (with_frame({"weights": [0, 0, 0]}), "frames[2].time: expected seconds, found null"),
        (
            with_frame({"weights": [0, 0, 0], "time": 0}),
            "frame 2: time 0 s: expected later than 0.0333333 s",
        ),
        (
            {"a": 1},
            "expected names and frames (ARKit, BEAT, LAM) or facsNames and weightMat (Audio2Face), found a",
        ),
        ("[1]", "expected a JSON object, found [1]"),
        ("{", None),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, document, message):
    path = written(tmp_path / "x.json", document)
    with pytest.raises(UserError) as error:
        read_driving(path, 25)
    text = str(error.value)
    assert "\n" not in text and text.startswith(f"{path}: ")
    assert message is None or text == f"{path}: {message}"


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--driving .*x\.bvh: expected the folder of a data set, a video"):
        read_driving(written(tmp_path / "x.bvh", "{}"), 25)
