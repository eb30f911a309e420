"""Light forms for browsers: found, baked, kept."""

import os

import pytest

from arguments import ViewingParams
from rendering import baking, probes
from scene import load_avatar
from scene.avatar import light_path
from scene.light_head import LightHead
from tests.viewing.avatars import draw_message, folder_of, make_avatar, on_show, page_of
from viewing import light_forms
from viewing.light_forms import offer_light_forms


@pytest.fixture(autouse=True)
def few_probes(monkeypatch):
    monkeypatch.setattr(probes, "NUM_RANDOM", 4)
    monkeypatch.setattr(baking, "NUM_HALVINGS", 2)


def offer(folder) -> list[dict]:
    """What a page hears of the light form of the avatar in a folder."""
    params = ViewingParams(model_path=(folder,), quiet=True)
    heard = []
    with on_show(
        load_avatar(folder), first=lambda shown: offer_light_forms(shown.desk, shown.server, params)
    ) as shown:
        with page_of(shown) as page:
            while not heard or heard[-1]["type"] == "baking":
                heard.append(page.receive()[0])
            page.send(**draw_message(shown.avatars[0]))
            page.wait_for("picture")
        with page_of(shown) as late:
            # Who comes later hears it too.
            assert late.receive()[0] == heard[-1]
    return heard


def test_a_light_form_is_baked_once_kept_and_baked_again_for_another_model(tmp_path):
    folder = folder_of(tmp_path, make_avatar())
    path = light_path(folder, 7)
    heard = offer(folder)
    shares = [message["progress"] for message in heard[:-1]]
    assert len(shares) > 2 and shares == sorted(shares) and 0.75 <= shares[-1] <= 1
    assert heard[-1]["type"] == "light" and heard[-1]["bytes"] == path.stat().st_size
    assert isinstance(load_avatar(path).head, LightHead)
    assert [message["type"] for message in offer(folder)] == ["light"]
    os.utime(path, (0, 0))
    assert offer(folder)[0]["type"] == "baking"


def test_what_cannot_be_kept_is_baked_all_the_same(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, make_avatar())
    monkeypatch.setattr(light_forms, "why_not_writable", lambda folder: "no right to write")
    assert offer(folder)[-1]["type"] == "light"
    assert not light_path(folder, 7).exists()


def test_an_avatar_without_a_head_model_is_drawn_by_the_server(tmp_path):
    heard = offer(folder_of(tmp_path, make_avatar(scaffold=False)))
    assert [message["type"] for message in heard] == ["no_light"]
    assert "no head model under it" in heard[0]["message"]
