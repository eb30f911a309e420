"""The page reads files that drive a face, and brings them to the avatar, as rendering/driving/ does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rendering.driving.live_link import ARKIT_NAMES, write_live_link
from rendering.driving.reading import read_driving
from rendering.driving.retarget import retarget
from rendering.driving.sequence import DrivingSequence
from tests.web.light_avatars import make_light_avatar
from tests.web.pages import open_modules

pytestmark = pytest.mark.browser
READ = """async ({ text, avatar }) => {
  const { readDriving } = await import('/page/driving.js');
  const { retargeted } = await import('/page/retarget.js');
  const read = readDriving(text, 'a.csv');
  if (!avatar) return read;
  avatar.motion = Float32Array.from(avatar.motion);
  const { frames, rate, notes } = retargeted(read, avatar);
  return { frames: Array.from(frames), rate, notes };
}"""
REFUSED = """async (text) => {
  const { readDriving } = await import('/page/driving.js');
  try { readDriving(text, 'a.csv'); return 'read'; } catch (error) { return error.message; }
}"""


@pytest.fixture(scope="module")
def page(browser):
    with open_modules(browser) as page:
        yield page


def sequence(num_frames, rate=30.0, names=ARKIT_NAMES):
    values = np.random.default_rng(num_frames).uniform(0, 0.6, (num_frames, len(names)))
    return DrivingSequence("made", names, values.astype(np.float32), rate)


def audio2face(driver):
    document = {"exportFps": driver.rate, "numPoses": len(driver.names), "numFrames": len(driver)}
    return json.dumps(document | {"facsNames": driver.names, "weightMat": driver.coefficients.tolist()})


def timed_frames(driver, late=0.0):
    times = np.arange(len(driver)) / driver.rate
    times[-1] += late
    rows = zip(driver.coefficients.tolist(), times.tolist())
    frames = [{"weights": row, "time": time} for row, time in rows]
    return json.dumps({"names": driver.names, "frames": frames})


@pytest.mark.parametrize("num_frames", [5, 70])
@pytest.mark.parametrize("form", ["csv", "shuffled csv", "audio2face", "timed", "unevenly timed"])
def test_files_are_read_and_retargeted_as_python_does(page, tmp_path, num_frames, form):
    driver = sequence(num_frames)
    path = tmp_path / ("a.csv" if "csv" in form else "a.json")
    if "csv" in form:
        write_live_link(path, driver)
        if form == "shuffled csv":
            # Columns from the last to the first, small letters, a row without a face.
            rows = [line.split(",")[::-1] for line in path.read_text().splitlines()]
            rows[3] = [""] * 62 + [rows[3][62]]
            path.write_text("\r\n".join([",".join(rows[0]).lower(), *map(",".join, rows[1:])]))
    elif form == "audio2face":
        path.write_text(audio2face(driver))
    else:
        path.write_text(timed_frames(driver, late=0.5 if "uneven" in form else 0.0))
    python = read_driving(path, 25.0)
    read = page.evaluate(READ, {"text": path.read_text(), "avatar": None})
    np.testing.assert_allclose(read["frames"], python.coefficients, atol=1e-6)
    assert read["names"] == list(python.names) and read["rate"] == pytest.approx(python.rate, rel=1e-6)

    avatar = make_light_avatar()
    expressions, _ = retarget(python, avatar)
    known = {"names": avatar.expression_names, "neutralExpression": avatar.neutral_expression.tolist()}
    known["motion"] = avatar.motion.flatten().tolist()
    played = page.evaluate(READ, {"text": path.read_text(), "avatar": known})
    np.testing.assert_allclose(played["frames"], expressions.flatten(), atol=1e-5)


def test_coefficients_without_arkits_names_rest_and_stay_where_the_clip_has_them(page, tmp_path):
    names = ("a", "b", "c", "d", "e")
    avatar = replace(make_light_avatar(), expression_names=names)
    for num_frames in (5, 70):
        path = tmp_path / f"{num_frames}.json"
        path.write_text(audio2face(sequence(num_frames, names=names)))
        expressions, _ = retarget(read_driving(path, 25.0), avatar)
        known = {"names": names, "neutralExpression": avatar.neutral_expression.tolist()}
        known["motion"] = avatar.motion.flatten().tolist()
        played = page.evaluate(READ, {"text": path.read_text(), "avatar": known})
        np.testing.assert_allclose(played["frames"], expressions.flatten(), atol=1e-5)


def test_one_face_by_name_is_a_sequence_of_one_frame(page):
    read = page.evaluate(READ, {"text": '{"jawOpen": 0.5, "cheekPuff": 1}', "avatar": None})
    assert (read["names"], read["frames"]) == (["jawOpen", "cheekPuff"], [[0.5, 1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a.csv: expected a header and rows, found nothing"),
        ("A,B\n1,2\n", "a.csv: line 1: expected columns such as JawOpen and EyeBlinkLeft, found none"),
        ("JawOpen,JawOpen\n1,2\n", "a.csv: line 1: column jawopen occurs more than once"),
        ("JawOpen,B\n1\n", "a.csv: line 2: expected 2 columns, found 1"),
        ("JawOpen\nwide\n", "a.csv: line 2: jawOpen: expected a number, found 'wide'"),
        (
            "Timecode,JawOpen\n1:2,0\n1:3,0\n",
            "a.csv: line 2: Timecode: expected HH:MM:SS:FF.mmm, found '1:2'",
        ),
        ("{", "a.csv: cannot be read as JSON"),
        ("[1]", "a.csv: expected an object, found [1]"),
        ("{}", "a.csv: expected numbers by name, or names and frames, found an empty object"),
        ('{"jawOpen": "x"}', 'a.csv: jawOpen[0]: expected a number, found "x"'),
        ('{"names": [], "frames": []}', "a.csv: names: expected a list with something in it, found []"),
        (
            '{"names": ["a"], "frames": [{"weights": [1, 2]}]}',
            "a.csv: frames[0].weights: expected 1 numbers, found 2",
        ),
        ('{"facsNames": ["a"], "weightMat": [[1]]}', "a.csv: exportFps: expected frames per second, found"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(page, text, words):
    refusal = page.evaluate(REFUSED, text)
    assert refusal.startswith(words) and "\n" not in refusal


def test_a_mouth_opens_at_once_and_closes_slowly(page):
    levels = page.evaluate("""async () => {
      const { LoudnessFollower } = await import('/page/microphone.js');
      const follower = new LoudnessFollower();
      const silent = new Float32Array(1024);
      const loud = silent.map((_, i) => 0.5 * Math.sin(i / 10));
      return Array.from({ length: 30 }, (_, i) => follower.next(i < 15 ? loud : silent, 33 * i));
    }""")
    rising, falling = levels[:15], levels[15:]
    assert levels[0] == 0 and rising == sorted(rising) and rising[4] > 0.9
    assert falling == sorted(falling, reverse=True) and falling[2] > 0.3 and falling[-1] < 0.05


def test_scores_of_a_tracker_go_by_name_and_are_smoothed(page):
    face = page.evaluate("""async () => {
      const { follow } = await import('/page/webcam.js');
      const avatar = { names: ['jawOpen', 'tongueOut', 'eyeBlinkLeft'] };
      const expression = new Float32Array(3);
      const scores = [['_neutral', 1], ['eyeBlinkLeft', 0.8], ['jawOpen', 0.4]];
      const categories = scores.map(([categoryName, score]) => ({ categoryName, score }));
      for (let i = 0; i < 20; i++) follow(expression, categories, avatar);
      return Array.from(expression);
    }""")
    assert face == pytest.approx([0.4, 0, 0.8], abs=1e-3)
