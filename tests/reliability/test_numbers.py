"""A picture, an expression or a gradient that is not finite, in the middle of a run; a camera before it."""

import pytest
import torch

from scene.views import HeadView
from tests.reliability import tiny
from tests.synthetic import edited_json, write_clip
from tests.test_train_and_render import model_tensors
from training.session import Session

NAN = float("nan")


def spoilt_picture(view: HeadView) -> HeadView:
    truth = view.truth.clone()
    truth[0, 5, 5] = NAN
    return view._replace(truth=truth)


def spoilt_expression(view: HeadView) -> HeadView:
    return view._replace(drive=view.drive._replace(expression=torch.full_like(view.drive.expression, NAN)))


def spoilt_camera(view: HeadView) -> HeadView:
    pose = view.camera.world_to_camera.clone()
    pose[0, 3] = NAN
    return view._replace(camera=view.camera.posed(pose))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", num_frames=12)


@pytest.mark.parametrize("spoil", [spoilt_picture, spoilt_expression, spoilt_camera, None])
def test_one_spoilt_view_is_skipped_by_name_and_harms_nothing(clip, tmp_path, monkeypatch, capsys, spoil):
    next_views, spoilt = Session.next_views, []

    def next_views_spoilt(self):
        (view,) = views = next_views(self)
        # Iteration 8, within a window of statistics.
        if self.state.iteration != 7:
            return views
        spoilt.append(view.image_id)
        if spoil is not None:
            return [spoil(view)]
        parameter = self.state.head.triplane.planes
        # Once: of this step.
        handle = parameter.register_hook(lambda grad: (handle.remove(), grad * NAN)[1])
        return views

    monkeypatch.setattr(Session, "next_views", next_views_spoilt)
    assert tiny.run(clip, tmp_path / "run") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "not finite" in line]
    assert len(said) == 1 and f"iteration 8, frame {spoilt[0]}: not finite: the " in said[0]
    assert all(value.isfinite().all() for value in model_tensors(tmp_path / "run").values())


def test_a_camera_that_is_no_number_never_comes_to_a_step(clip, tmp_path, capsys):
    """The one place where cameras come from refuses it."""
    with edited_json(write_clip(tmp_path / "clip")) as document:
        document["frames"][3]["transform_matrix"][0][3] = NAN
    assert tiny.run(tmp_path / "clip", tmp_path / "run") == 2
    said = capsys.readouterr().err.strip()
    assert "img_id 3: transform_matrix: expected finite numbers" in said and "\n" not in said
