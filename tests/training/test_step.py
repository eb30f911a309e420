"""What a training step draws, beside the loss and the optimiser, which have tests of their own."""

from types import SimpleNamespace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer import render
from scene.cameras import Camera
from scene.views import Drive, HeadView, SideView
from tests.scene.heads import EXPRESSION_SIZE, make_densifier, make_head, make_optimizer
from training.loss import TrainingLoss
from training.step import TrainingStep


@pytest.mark.parametrize("lambda_outside", [0.0, 2.0])
def test_a_side_view_sees_the_expression_alone_and_counts_by_its_weight(tmp_path, lambda_outside):
    flags = f"-s {tmp_path} -m {tmp_path}/out --lambda_outside {lambda_outside} --lambda_vgg 0 --device cpu"
    config = parse_train_args(flags.split())
    head, pose = make_head(30, torso_membership=True), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[2, 3] = 2.0
    camera = Camera(pose, 40.0, 40.0, 16.0, 12.0, 32, 24)
    aside = pose.clone()
    aside[:3, :3] = pose[:3, :3] @ torch.tensor([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    outside = torch.rand(24, 32, generator=torch.Generator().manual_seed(0)) > 0.5
    drive = Drive(torch.randn(EXPRESSION_SIZE), aside)
    view = HeadView(camera, drive, torch.zeros(3), torch.zeros(3, 24, 32), 0, SideView(aside, outside))
    front = render(camera, head(camera, drive), torch.zeros(3)).image
    side = render(
        camera.posed(aside), head(camera.posed(aside), Drive(drive.expression)), torch.zeros(3)
    ).alpha
    loss = TrainingLoss(config.optimization)
    expected = loss(front, view.truth) + lambda_outside * (side * outside).mean()

    optimizer = make_optimizer(head)
    state = SimpleNamespace(head=head, optimizer=optimizer, densifier=make_densifier(optimizer))
    result = TrainingStep(state, loss, config)(view, observes=True)
    torch.testing.assert_close(result.loss, expected.detach())
    torch.testing.assert_close(result.image, front.detach())
    # Seen is what the front view shows, whatever the side view does.
    assert state.densifier.stats.num_seen.max() == 1
