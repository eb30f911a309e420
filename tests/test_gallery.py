"""What lies in gallery/ can be opened, and is as small as the page about it says."""

import torch

from gaussian_renderer import render
from scene import load_avatar
from scene.light_head import LightHead
from tests.test_imports import ROOT

GALLERY = ROOT / "gallery"


def test_the_light_avatar_is_small_and_moves():
    path = GALLERY / "obama.safetensors"
    assert path.stat().st_size <= 3_000_000
    avatar = load_avatar(path)
    assert isinstance(avatar.head, LightHead)
    camera = avatar.camera.scaled(96, 96)
    still, open_mouth = (
        render(camera, avatar.head(camera, avatar.expression(jawOpen=jaw)), torch.ones(3)).image
        for jaw in (0.0, 0.8)
    )
    changed = (still - open_mouth).abs().amax(dim=0)
    # The mouth, and hardly anything above the eyes.
    assert changed[45:].max() > 0.3 > 10 * changed[:30].mean()


def test_the_page_is_small_and_needs_nothing_else():
    page = (GALLERY / "obama.html").read_text()
    assert len(page.encode()) <= 4_000_000
    assert page.startswith("<!doctype html>") and 'src="http' not in page and 'href="http' not in page
