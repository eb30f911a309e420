"""The page in a real browser: it draws what render.py draws, moves when dragged and when a slider moves."""

import base64
import contextlib
import io
import time

import imageio.v2 as imageio
import numpy as np
import pytest
import torch

from arguments import ViewingParams
from rendering import probes
from scene.cameras import Camera
from tests.viewing.avatars import folder_of, make_avatar, on_show, psnr, rendered
from viewing.light_forms import offer_light_forms

pytestmark = pytest.mark.browser

NUM_AVATARS = 2
# The page's dark background.
DARK = (0.086, 0.102, 0.129)
PIXELS = """([number, here]) => {
  if (here) viewer.drawHereNow(true);
  const pane = viewer.panes[number];
  const { width, height } = here ? pane.canvas : pane.picture;
  const shown = () => pane.picture.getContext('2d').getImageData(0, 0, width, height).data;
  const bytes = here ? pane.renderer.pixels() : shown();
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return [width, height, btoa(text)];
}"""
CAMERA = "viewer.cameraFor(viewer.panes[0], 1)"
AT_REST = "viewer.isFinal && !viewer.dirty && viewer.pending === null && viewer.panes.length > 0"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "NUM_RANDOM", 4)
        avatars = [make_avatar() for _ in range(NUM_AVATARS)]
        folders = tuple(folder_of(tmp_path_factory.mktemp("avatar"), avatar) for avatar in avatars)
        params = ViewingParams(model_path=folders, quiet=True)
        with on_show(*avatars, first=lambda s: offer_light_forms(s.desk, s.server, params)) as shown:
            yield shown


@pytest.fixture(scope="module")
def page(browser, shown):
    with opened(browser, shown, width=900) as page:
        yield page


@pytest.fixture(autouse=True)
def fresh(page):
    """Each test begins with the neutral face, seen from the front, drawn by the browser."""
    yield
    page.click("#neutral")
    page.click("#modes button")
    page.click("#drawing button >> nth=0")
    page.evaluate("viewer.orbit.reset()")
    wait(page, AT_REST)


@contextlib.contextmanager
def opened(browser, shown, width: int):
    """The viewer's page, drawn by the browser, which must have nothing to complain of."""
    page = browser.new_page(viewport={"width": width, "height": 460})
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.goto(shown.server.address)
    wait(page, "globalThis.viewer?.isDrawnHere")
    # Even where it is slow.
    page.click("#drawing button >> nth=0")
    yield page
    page.close()
    assert complaints == []


def wait(page, condition: str, seconds: float = 60) -> None:
    """Until an expression is true; playwright's own way needs what the page forbids: eval."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def pixels(page, number: int = 0, here: bool = True) -> np.ndarray:  # [H, W, 3] 0 to 1
    """What a pane has on its canvas: drawn by the browser, or the server's picture."""
    width, height, encoded = page.evaluate(PIXELS, [number, here])
    values = np.frombuffer(base64.b64decode(encoded), np.uint8)
    return values.reshape(height, width, 4)[..., :3] / 255


def camera_of(page) -> Camera:
    found = page.evaluate(CAMERA)
    pose = torch.eye(4)
    pose[:3] = torch.tensor(found.pop("worldToCamera"), dtype=torch.float64).view(3, 4).float()
    return Camera(pose, *(found[name] for name in ("fx", "fy", "cx", "cy", "width", "height")))


def move_slider(page, name: str, value: float) -> None:
    page.fill("#search", name)
    page.locator(f".slider[data-name={name}] input[type=range]").fill(str(value))
    wait(page, f"viewer.expression.values.get('{name}') === {value} && {AT_REST}")


def test_browser_and_server_draw_what_render_draws(page, shown):
    move_slider(page, "jawOpen", 0.6)
    camera = camera_of(page)
    expected = rendered(shown.avatars[0], camera, DARK, jawOpen=0.6)
    # Light form against the full avatar, and its bases in half precision.
    assert psnr(pixels(page), expected) > 35
    page.click("#drawing button >> nth=1")
    wait(page, f"{AT_REST} && viewer.panes[0].picture.width === {camera.width}")
    assert psnr(pixels(page, here=False), expected) > 40


def test_an_open_jaw_moves_the_mouth_and_little_else(page):
    before = pixels(page)
    move_slider(page, "jawOpen", 1.0)
    change = np.abs(pixels(page) - before).mean(axis=2)
    height = len(change)
    mouth, background = change[height // 2 :], change[: height // 8]
    assert mouth.mean() > 0.005
    assert mouth.mean() > 5 * background.mean()


def test_both_avatars_share_camera_and_expression(page):
    assert page.locator("figure").count() == NUM_AVATARS
    move_slider(page, "jawOpen", 0.8)
    assert np.array_equal(pixels(page, 0), pixels(page, 1))


def test_dragging_turns_the_head_and_a_double_click_goes_back(page, shown):
    before, straight = pixels(page), camera_of(page)
    page.mouse.move(200, 150)
    page.mouse.down()
    page.mouse.move(280, 150, steps=4)
    page.mouse.up()
    wait(page, AT_REST)
    turned = camera_of(page)
    assert turned.center[0] < straight.center[0] - 0.5
    assert psnr(pixels(page), rendered(shown.avatars[0], turned, DARK)) > 35
    page.mouse.dblclick(200, 150)
    wait(page, AT_REST)
    assert psnr(pixels(page), before) > 50


def test_the_clip_plays_and_a_frame_of_it_can_be_copied(page, shown):
    page.keyboard.press(" ")
    wait(page, "viewer.playback.index > 0")
    page.keyboard.press(" ")
    page.fill("#copy-frame", "5")
    page.click("#copy")
    values = page.evaluate("[...viewer.expression.values.values()]")
    assert values == pytest.approx(shown.avatars[0].motion[5].tolist(), abs=1e-4)


def test_modes_without_a_light_form_come_from_the_server(page):
    page.click("#modes button:has-text('Scaffold')")
    wait(page, f"{AT_REST} && !viewer.isDrawnHere && viewer.panes[0].picture.classList.contains('shown')")
    assert pixels(page, here=False).std() > 0.01


def test_a_recorded_film_is_offered(page):
    with page.expect_download() as download:
        page.click("#film-clip")
    film = list(iter(imageio.get_reader(io.BytesIO(download.value.path().read_bytes()), format="mp4")))
    assert len(film) == 8 and film[0].shape[1] == NUM_AVATARS * film[0].shape[0]


def test_a_screenshot_has_all_avatars(page):
    with page.expect_download() as download:
        page.click("#screenshot")
    picture = imageio.imread(download.value.path().read_bytes())
    assert picture.shape[1] == NUM_AVATARS * pixels(page).shape[1]
