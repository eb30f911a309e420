"""A live face in the page of a real browser: sliders and head follow, space calibrates, latency is shown."""

import time

import numpy as np
import pytest

from arguments import ViewingParams
from rendering import probes
from rendering.driving.head_angles import rotations_of
from rendering.driving.live.calibration import LiveFace
from rendering.driving.live.frame import LiveFrame, Reading
from tests.viewing.avatars import folder_of, make_avatar, on_show, psnr, rendered
from tests.viewing.test_page import AT_REST, DARK, camera_of, opened, pixels, wait
from viewing.exhibit import coefficient_ranges
from viewing.light_forms import offer_light_forms

pytestmark = pytest.mark.browser

# What is fresh is drawn in the light form; then the view rests.
STALE = f"viewer.live.number === undefined && {AT_REST}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "NUM_RANDOM", 4)
        avatar = make_avatar()
        params = ViewingParams(model_path=(folder_of(tmp_path_factory.mktemp("avatar"), avatar),), quiet=True)
        with on_show(avatar, first=lambda s: offer_light_forms(s.desk, s.server, params)) as shown:
            shown.desk.live.begin(LiveFace(avatar, coefficient_ranges(avatar).numpy()), "camera 0")
            yield shown


@pytest.fixture
def page(browser, shown):
    with opened(browser, shown, width=800) as page:
        yield page
    shown.desk.live._face.reset()


def submit(shown, yaw: float = 0.0, **coefficients: float) -> None:
    turn = rotations_of(np.array([[yaw, 0, 0]]))[0]
    stages = {"capture": 0.002, "landmarks": 0.02}
    shown.desk.live.submit(LiveFrame(Reading(coefficients, turn), time.perf_counter() - 0.022, stages))


def value(name: str) -> str:
    return f"viewer.expression.values.get('{name}')"


def test_sliders_and_head_follow_in_the_browser(page, shown):
    assert page.is_visible("#live") and page.inner_text("#live-source") == "camera 0"
    submit(shown, yaw=0.35, jawOpen=0.6)
    wait(page, f"{value('jawOpen')} === 0.6 && {STALE}")
    camera = camera_of(page)
    turn = rotations_of(np.array([[0.35, 0, 0]]))[0]
    # The camera of these avatars looks along -z with y up: OpenGL's axes are the world's.
    pose = camera.world_to_camera.clone()
    pose[:3, :3] = pose[:3, :3] @ pose.new_tensor(turn)
    # In the browser the torso turns with the head.
    assert psnr(pixels(page), rendered(shown.avatars[0], camera.posed(pose), DARK, jawOpen=0.6)) > 35
    assert "ms to coefficients" in page.inner_text("#latency")
    assert "landmarks 20.0" in page.inner_text("#latency-parts")


def test_the_server_draws_with_the_latency_of_the_picture(page, shown):
    page.click("#drawing button >> nth=1")
    wait(page, STALE)
    submit(shown, yaw=0.35, jawOpen=0.6)
    wait(page, f"{value('jawOpen')} === 0.6 && {STALE}")
    assert "ms to pictures" in page.inner_text("#latency")
    assert "draw" in page.inner_text("#latency-parts") and "encode" in page.inner_text("#latency-parts")
    camera = camera_of(page)
    pose = camera.world_to_camera.clone()
    pose[:3, :3] = pose[:3, :3] @ pose.new_tensor(rotations_of(np.array([[0.35, 0, 0]]))[0])
    expected = rendered(shown.avatars[0], camera.posed(pose), DARK, moves_head=True, jawOpen=0.6)
    assert psnr(pixels(page, here=False), expected) > 40


def test_space_calibrates_and_reset_forgets(page, shown):
    rest = float(np.percentile(shown.avatars[0].motion[:, 0], 10))
    submit(shown, jawOpen=0.6)
    wait(page, f"{value('jawOpen')} === 0.6")
    page.keyboard.press(" ")
    wait(page, "document.getElementById('calibration').textContent.startsWith('now move your face')")
    assert not page.evaluate("viewer.playback.playing")
    submit(shown, jawOpen=0.6)
    wait(page, f"Math.abs({value('jawOpen')} - {rest}) < 1e-3")
    page.click("#uncalibrate")
    wait(page, "document.getElementById('uncalibrate').disabled")
    submit(shown, jawOpen=0.6)
    wait(page, f"{value('jawOpen')} === 0.6")


def test_a_page_that_does_not_follow_keeps_its_face(page, shown):
    submit(shown, yaw=0.3, jawOpen=0.6)
    wait(page, f"{value('jawOpen')} === 0.6")
    page.uncheck("#follow")
    submit(shown, yaw=0.3, jawOpen=0.1)
    page.click("#neutral")
    wait(page, AT_REST)
    assert page.evaluate(value("jawOpen")) == 0 and page.evaluate("viewer.live.turn") is None
    page.check("#follow")
    submit(shown, jawOpen=0.2)
    wait(page, f"{value('jawOpen')} === 0.2")
