"""web/renderer.js draws what render() draws."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaussian_renderer import render
from rendering import baking, probes
from scene import load_avatar
from scene.avatar import save_avatar
from scene.cameras import about_y
from scene.light_head import NUM_POSE_FEATURES, LightHead
from tests.rendering.test_baking import make_avatar
from tests.web.light_avatars import make_light_avatar
from tests.web.pages import DRAW, as_json, open_modules, picture_of

pytestmark = pytest.mark.browser
FACES = ({}, {"jawOpen": 0.7}, {"mouthSmileLeft": 0.8, "eyeBlinkLeft": 1.0})
YAWS = (0, 30, -20)


def saved(avatar, path):
    """The avatar as its file has it, and the file."""
    save_avatar(avatar, path)
    return load_avatar(path), path.read_bytes()


def seen(avatar, yaw):
    pose = avatar.camera.world_to_camera.double() @ about_y(-math.radians(yaw))
    return replace(avatar.camera, world_to_camera=pose.float())


def drawn(browser, content, views, cameras):
    """Pictures [H, W, 4] of views."""
    with open_modules(browser, {"a.safetensors": content}) as page:
        pictures = page.evaluate(DRAW, {"name": "a.safetensors", "views": views})
    return [picture_of(picture, camera) for picture, camera in zip(pictures, cameras, strict=True)]


def psnr(a, b):
    return -10 * math.log10(max(((a - b) ** 2).mean(), 1e-12))


@pytest.mark.parametrize("num_bases", [1, 9, 16])
def test_pictures_equal_render_at_three_views_and_faces(browser, tmp_path, num_bases):
    avatar, content = saved(make_light_avatar(num_bases=num_bases), tmp_path / "a.safetensors")
    views, cameras, truth = [], [], []
    for yaw in YAWS:
        for face in FACES:
            camera, expression = seen(avatar, yaw), avatar.expression(**face)
            cameras.append(camera)
            background = avatar.background.tolist()
            views.append(
                {"expression": expression.tolist(), "camera": as_json(camera), "background": background}
            )
            image = render(camera, avatar.head(camera, expression), avatar.background).image
            truth.append(image.clamp(0, 1).permute(1, 2, 0).numpy())
    pictures = drawn(browser, content, views, cameras)
    for picture, true in zip(pictures, truth, strict=True):
        # Eight bits, and half floats between: 45 dB is a level and a half.
        assert psnr(picture[..., :3], true) > 45
        assert (picture[..., 3] == 1).all()
    moved = [np.abs(pictures[i] - pictures[0]).mean() for i in (1, 2)]
    assert min(moved) > 0.01


def test_a_baked_head_is_drawn_as_render_draws_it(browser, tmp_path, monkeypatch):
    # Looks at fewer expressions: how well it is fitted matters elsewhere.
    monkeypatch.setattr(probes, "NUM_RANDOM", 2)
    full = make_avatar()
    light = baking.bake(full, full.motion[::2], 3_000_000, 180.0).head
    avatar, content = saved(replace(full, head=light), tmp_path / "a.safetensors")
    camera, expression = avatar.camera, avatar.expression(jawOpen=0.8)
    view = {"expression": expression.tolist(), "camera": as_json(camera), "background": [1, 1, 1]}
    (picture,) = drawn(browser, content, [view], [camera])
    true = render(camera, avatar.head(camera, expression), torch.ones(3)).image.clamp(0, 1)
    assert psnr(picture[..., :3], true.permute(1, 2, 0).numpy()) > 45


def test_columns_for_a_pose_of_the_head_are_left_out(browser, tmp_path):
    avatar = make_light_avatar()
    head = avatar.head
    size = head.bases["xyz"].weights.shape[1]
    is_of_pose = torch.arange(size) >= size - NUM_POSE_FEATURES
    bases = {
        name: basis._replace(weights=basis.weights + 9 * is_of_pose) for name, basis in head.bases.items()
    }
    ranges, neutral = head.ranges, head.neutral_expression
    other = replace(avatar, head=LightHead(head.neutral, bases, neutral, ranges, head.torso))
    view = {"expression": avatar.expression(jawOpen=1.0).tolist(), "camera": as_json(avatar.camera)}
    pictures = []
    for each in (avatar, other):
        save_avatar(each, tmp_path / "a.safetensors")
        pictures += drawn(browser, (tmp_path / "a.safetensors").read_bytes(), [view], [avatar.camera])
    np.testing.assert_array_equal(*pictures)


def test_alpha_depth_and_transparency_are_the_rasterizers(browser, tmp_path):
    avatar, content = saved(make_light_avatar(), tmp_path / "a.safetensors")
    camera, expression = avatar.camera, avatar.neutral_expression
    view = {"expression": expression.tolist(), "camera": as_json(camera)}
    views = [{**view, "mode": "alpha"}, {**view, "mode": "depth", "background": [0, 0, 0]}]
    alpha, depth, clear = drawn(browser, content, [*views, {**view, "background": None}], [camera] * 3)
    splats = avatar.head(camera, expression)
    true = render(camera, splats, torch.zeros(3))
    # Two levels of 255.
    np.testing.assert_allclose(alpha[..., 0], true.alpha, atol=2 / 255)
    np.testing.assert_allclose(clear[..., 3], true.alpha, atol=2 / 255)
    nearest, farthest = camera.project(splats.means)[:, 2].aminmax()
    share = (true.depth - nearest * true.alpha) / (farthest - nearest)
    np.testing.assert_allclose(depth[..., 0], true.alpha - share, atol=3 / 255)
    # Premultiplied: what the canvas holds over black is the picture over black.
    np.testing.assert_allclose(
        clear[..., :3], true.image.permute(1, 2, 0).minimum(true.alpha[..., None]), atol=0.02
    )


def test_several_avatars_share_a_page(browser, tmp_path):
    files = {}
    for num in (50, 80):
        save_avatar(make_light_avatar(num), tmp_path / "a.safetensors")
        files[f"{num}.safetensors"] = (tmp_path / "a.safetensors").read_bytes()
    with open_modules(browser, files) as page:
        counts = page.evaluate(
            """async (names) => {
          const { fetchAvatar } = await import('/avatar_data.js');
          const { SplatRenderer } = await import('/renderer.js');
          const avatars = await Promise.all(names.map((name) => fetchAvatar('/' + name)));
          const all = avatars.map((each) => new SplatRenderer(document.createElement('canvas'), each));
          const draw = () => all.map((each, i) => {
            each.draw({ expression: avatars[i].neutralExpression, camera: avatars[i].camera });
            return each.pixels().reduce((sum, value) => sum + value, 0);
          });
          return [draw(), draw()];
        }""",
            list(files),
        )
    assert counts[0] == counts[1] and counts[0][0] != counts[0][1]


def test_a_file_that_is_no_light_form_is_refused_in_words(browser, tmp_path):
    save_avatar(make_avatar(), tmp_path / "full.safetensors")
    with open_modules(browser, {"full": (tmp_path / "full.safetensors").read_bytes()}) as page:
        words = page.evaluate("""async () => (await import('/avatar_data.js')).fetchAvatar('/full')
          .then(() => 'read', (error) => error.message)""")
    assert words == "not the light form of an avatar: make it by python export.py"
