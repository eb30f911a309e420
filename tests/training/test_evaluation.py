import pytest
import torch

from arguments import NetworkParams, PipelineParams
from gaussian_renderer import render
from rendering.views import FrameViews
from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip
from scene.views import Drive
from tests.scene.heads import make_head
from tests.synthetic import write_clip
from training.evaluation import SCORED_AT_ONCE, SHEET_ROWS, evaluate
from utils.metrics import score


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_frame_is_scored_as_by_hand_and_some_are_shown(tmp_path, device):
    # More than are scored at once, and not a multiple of it.
    num = SCORED_AT_ONCE + 5
    clip = read_clip(write_clip(tmp_path / "clip", num_frames=num))
    frames = FrameDataset(clip, range(num), background=(1, 1, 1), device=device)
    head = make_head(50, expression_size=len(clip.frames[0].expression)).to(device)
    background = torch.ones(3, device=device)
    views = FrameViews(frames, background, NetworkParams())
    result = evaluate(head, views, PipelineParams(), name="test", quiet=True)
    assert [view.image_id for view in result.views] == [frame.image_id for frame in clip.frames]
    for view, frame in zip(result.views, frames):
        drive = Drive(frame.expression, frame.camera.world_to_camera)
        with torch.no_grad():
            drawn = render(frame.camera, head(frame.camera, drive), background)
        expected = score(drawn.image, frame.image)
        assert (view.l1, view.psnr, view.ssim) == pytest.approx([float(x) for x in expected], rel=1e-5)
    assert result.sheet.shape[0] >= SHEET_ROWS * 24
    assert result.mean("psnr") == pytest.approx(sum(view.psnr for view in result.views) / num)
