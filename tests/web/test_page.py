"""The page that export.py --web writes, opened from the disk."""

import base64
import io

import imageio.v3 as imageio
import numpy as np
import pytest

import export
from rendering.web_page import clip_rate, room_for_avatar
from scene.avatar import save_avatar
from tests.rendering.test_baking import make_avatar
from tests.web.light_avatars import make_light_avatar
from utils.errors import UserError

SMALL = {"width": 900, "height": 500}
EMBEDDING = """<!doctype html><iframe id="frame" src="{page}#panel=off"></iframe><script>
  window.answers = [];
  window.addEventListener('message', ({{ data }}) => answers.push(data));
</script>"""
# Sends messages and waits until the last one is answered.
ASK = """async (messages) => {
  const inner = document.getElementById('frame').contentWindow;
  answers.length = 0;
  for (const message of messages) inner.postMessage(message, '*');
  inner.postMessage({ avatar: 'names', id: 'last' }, '*');
  while (!answers.some(({ id }) => id === 'last')) await new Promise((resolve) => setTimeout(resolve, 10));
  return answers.filter(({ id }) => id !== 'last');
}"""
DROP = """([text, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name));
  window.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    save_avatar(make_light_avatar(), folder / "me_light.safetensors")
    export.main(["-m", str(folder / "me_light.safetensors"), "--web", "--device", "cpu"])
    return folder / "me.html"


@pytest.fixture(scope="module")
def opened(browser, page_file):
    page = browser.new_page(viewport=SMALL)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(f"{page_file.as_uri()}#play=off")
    page.wait_for_function("window.avatar?.names")
    yield page
    assert errors == []
    page.close()


@pytest.fixture
def page(opened):
    """The page as it was when it was opened, more or less: opening it again takes a second."""
    yield opened
    opened.evaluate("avatar.neutral(); avatar.background('dark')")
    opened.fill("#search", "")
    opened.click("#front")


def screenshot(page):  # [H, W, 4]
    address = page.evaluate("avatar.screenshot()")
    return imageio.imread(io.BytesIO(base64.b64decode(address.partition(",")[2]))).astype(int)


def face(page, **values):
    page.evaluate("(values) => { avatar.neutral(); avatar.set(values); }", values)
    settle(page)


def settle(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.browser
def test_the_page_plays_the_clip_and_its_title_is_the_avatars(browser, page_file):
    page = browser.new_page(viewport=SMALL)
    page.goto(page_file.as_uri())
    page.wait_for_function("window.avatar?.names && avatar.get().jawOpen > 0")
    first = page.evaluate("avatar.get()")
    page.wait_for_function("(first) => avatar.get().jawOpen !== first.jawOpen", arg=first)
    assert page.title() == "me"
    page.evaluate("avatar.pause()")
    settle(page)
    stopped = page.evaluate("avatar.get()")
    settle(page)
    assert page.evaluate("avatar.get()") == stopped
    page.close()


@pytest.mark.browser
def test_set_moves_what_it_names_and_neutral_lets_go(page):
    face(page)
    rest = screenshot(page)
    face(page, jawOpen=0.9)
    assert page.evaluate("avatar.get().jawOpen") == pytest.approx(0.9)
    assert np.abs(screenshot(page) - rest).max() > 20
    page.evaluate("avatar.set({ jawOpen: null })")
    settle(page)
    np.testing.assert_array_equal(screenshot(page), rest)


@pytest.mark.browser
def test_a_slider_moves_the_face_and_shows_what_it_does(page):
    face(page)
    rest = screenshot(page)
    page.fill("#search", "jaw")
    visible = page.locator(".slider:visible")
    assert visible.count() == 1 and visible.locator("span").text_content() == "jawOpen"
    visible.locator("input").fill("0.75")
    settle(page)
    assert visible.locator("output").text_content() == "0.75"
    assert np.abs(screenshot(page) - rest).max() > 20
    page.click("#neutral")
    settle(page)
    np.testing.assert_array_equal(screenshot(page), rest)
    page.click("#random")
    settle(page)
    assert np.abs(screenshot(page) - rest).max() > 5


@pytest.mark.browser
def test_dragging_turns_the_head_and_a_wheel_zooms(page):
    page.mouse.move(200, 200)
    page.mouse.down()
    page.mouse.move(260, 180, steps=3)
    page.mouse.up()
    page.mouse.wheel(0, -200)
    page.wait_for_function("avatar.camera().zoom > 1.2")
    camera = page.evaluate("avatar.camera()")
    assert camera["yaw"] < -10 and camera["pitch"] < -3
    page.click("#front")
    assert page.evaluate("avatar.camera()") == {"yaw": 0, "pitch": 0, "zoom": 1, "x": 0, "y": 0}


@pytest.mark.browser
def test_dropped_files_drive_the_face_and_bad_ones_are_explained(page):
    rows = "".join(f"10:00:00:{i:02d}.000,{0.9},0.0\n" for i in range(10))
    page.evaluate(DROP, [f"Timecode,JawOpen,EyeBlinkLeft\n{rows}", "talk.csv"])
    page.wait_for_function("Math.abs(avatar.get().jawOpen - 0.9) < 1e-5")
    assert page.locator("[data-source=file]").get_attribute("aria-pressed") == "true"
    assert "it has no mouthSmileLeft" in page.locator("#note").text_content()
    page.evaluate(DROP, ['{"cheekPuff": 0.4}', "face.json"])
    page.wait_for_function("Math.abs(avatar.get().cheekPuff - 0.4) < 1e-5")
    page.evaluate(DROP, ["JawOpen\nwide\n", "bad.csv"])
    page.wait_for_selector("#note.error")
    words = page.locator("#note").text_content()
    assert words == "bad.csv: line 2: jawOpen: expected a number, found 'wide'"


@pytest.mark.browser
def test_a_screenshot_is_transparent_where_nothing_is(page):
    page.evaluate("avatar.background('transparent')")
    picture = screenshot(page)
    assert (picture[0, 0] == 0).all() and picture[..., 3].max() > 200
    page.evaluate("avatar.background('#ff8000')")
    picture = screenshot(page)
    assert list(picture[0, 0]) == [255, 128, 0, 255]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("avatar.set({ nose: 1 })", "set: 'nose' is no coefficient of this avatar"),
        ("avatar.set({ jawOpen: 'wide' })", 'set: jawOpen: expected a number or null, found "wide"'),
        ("avatar.set({ jawOpen: NaN })", "set: jawOpen: expected a number or null, found NaN"),
        ("avatar.set([1])", "set: expected an object of numbers by name, found [1]"),
        ("avatar.camera({ roll: 1 })", "camera: 'roll': expected yaw, pitch, zoom, x, y"),
        ("avatar.camera({ yaw: Infinity })", "camera: yaw: expected a number, found Infinity"),
        ("avatar.background('toString')", "background: expected dark, transparent, white or #rrggbb"),
        ("avatar.mode('x')", "mode: expected image, depth, alpha, ellipsoids"),
        ("avatar.drive(5)", "drive: expected the text of a CSV or JSON, found 5"),
    ],
)
def test_wrong_calls_throw_words_and_change_nothing(page, call, words):
    before = page.evaluate("[avatar.get(), avatar.camera()]")
    told = page.evaluate(
        f"(() => {{ try {{ {call}; return 'done'; }} catch (e) {{ return e.message; }} }})()"
    )
    assert told.startswith(words)
    settle(page)
    assert page.evaluate("[avatar.get(), avatar.camera()]") == before


@pytest.mark.browser
def test_an_embedding_page_asks_by_messages_and_malformed_ones_are_answered(browser, page_file):
    host = page_file.with_name("host.html")
    host.write_text(EMBEDDING.format(page=page_file.name))
    page = browser.new_page()
    page.goto(host.as_uri())
    page.wait_for_function("answers.some(({ avatar }) => avatar === 'ready')")
    assert "jawOpen" in page.evaluate("answers[0].names")
    good = page.evaluate(
        ASK,
        [
            {"avatar": "neutral", "id": 1},
            {"avatar": "set", "with": [{"jawOpen": 0.5}], "id": 2},
            {"avatar": "camera", "with": [{"yaw": 20}], "id": 3},
        ],
    )
    assert [answer["ok"] for answer in good] == [True] * 3
    assert good[2]["value"]["yaw"] == 20
    settle(page)
    (now,) = page.evaluate(ASK, [{"avatar": "get", "id": 4}])
    assert now["value"]["jawOpen"] == pytest.approx(0.5)
    bad = [
        {"avatar": "explode", "id": 5},
        {"avatar": 7},
        {"avatar": "constructor"},
        {"avatar": "set", "with": "jawOpen"},
        {"avatar": "set", "with": [{"jawOpen": "x"}]},
        {"avatar": "drive", "with": ["{"]},
    ]
    answers = page.evaluate(ASK, bad)
    assert len(answers) == len(bad)
    assert all(not answer["ok"] and answer["error"] for answer in answers) and answers[0]["id"] == 5
    # Not for us: no answer, and it goes on.
    assert page.evaluate(ASK, ["hello", None, 5, {"other": 1}, {"avatar": "answer"}]) == []
    page.close()


@pytest.mark.browser
def test_a_browser_without_webgl2_is_told_so_in_the_page(browser, page_file):
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(page_file.as_uri())
    page.wait_for_function("window.avatarError")
    assert "has no WebGL2" in page.locator("#message").text_content()
    assert page.locator("#message").is_visible()
    page.close()


@pytest.mark.browser
def test_a_microphone_or_webcam_that_cannot_be_had_says_why(browser, page_file):
    context = browser.new_context(viewport=SMALL, permissions=[])
    page = context.new_page()
    page.goto(f"{page_file.as_uri()}#play=off")
    page.wait_for_function("window.avatar?.names")
    for source in ("microphone", "webcam"):
        page.click(f"[data-source={source}]")
        page.wait_for_selector("#note.error")
        assert page.locator("#note").text_content().startswith(f"No {source}: ")
        assert page.locator(f"[data-source={source}]").get_attribute("aria-pressed") == "false"
        page.click("#neutral")
    page.evaluate("Object.defineProperty(navigator, 'onLine', { value: false })")
    page.click("[data-source=webcam]")
    page.wait_for_selector("#note.error")
    assert "no network" in page.locator("#note").text_content()
    context.close()


def test_the_page_asks_nobody_for_anything_and_has_room_for_the_avatar(page_file):
    text = page_file.read_text()
    assert 'src="' not in text and 'href="' not in text and "url(" not in text
    # What is not the avatar.
    assert 4e6 - room_for_avatar(4_000_000) * 4 / 3 < 150_000
    assert len(text) < 300_000


def test_pages_that_cannot_fit_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match=r"--max_megabytes: the page without an avatar has 0\.\d\d already"):
        room_for_avatar(50_000)
    save_avatar(make_light_avatar(3000), tmp_path / "me.safetensors")
    with pytest.raises(SystemExit) as refusal:
        export.main(["-m", str(tmp_path / "me.safetensors"), "--web", "--max_megabytes", "0.2"])
    assert refusal.value.code == 2
    assert "error: --max_megabytes: the page of this light form has 0." in capsys.readouterr().err
    assert not (tmp_path / "me.html").exists()


def test_a_full_avatar_becomes_a_page_of_the_size_asked_for(tmp_path, capsys):
    save_avatar(make_avatar(), tmp_path / "me.safetensors")
    export.main(["-m", str(tmp_path / "me.safetensors"), "--web", "--device", "cpu", "--quiet"])
    page = tmp_path / "me.html"
    assert f"{page}: {page.stat().st_size / 1e6:.2f} MB, open it in a browser, " in capsys.readouterr().out
    save_avatar(make_avatar(motion=None), tmp_path / "still.safetensors")
    with pytest.raises(SystemExit):
        export.main(["-m", str(tmp_path / "still.safetensors"), "--web", "--device", "cpu", "--quiet"])
    assert "no motion of its clip" in capsys.readouterr().err


def test_the_frame_rate_is_the_clips_where_its_data_tell_else_25(tmp_path):
    assert clip_rate(None) == clip_rate(tmp_path) == 25
    frames = '[{"img_id": 0, "time": 0.0}, {"img_id": 1, "time": 0.02}, {"img_id": 2, "time": 0.04}]'
    (tmp_path / "transforms.json").write_text(f'{{"frames": {frames}}}')
    assert clip_rate(tmp_path) == pytest.approx(50)
