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
    result = TrainingStep(state, loss, config)([view], observes=True)
    torch.testing.assert_close(result.loss, expected.detach())
    torch.testing.assert_close(result.images, front.detach()[None])
    # Seen is what the front view shows, whatever the side view does.
    assert state.densifier.stats.num_seen.max() == 1


def test_a_step_of_several_views_has_the_mean_of_their_losses_and_counts_each(tmp_path):
    """One step of two views against two of one view each, from the same weights."""
    config = parse_train_args(f"-s {tmp_path} -m {tmp_path}/out --lambda_vgg 0 --device cpu".split())
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[2, 3] = 2.0
    camera = Camera(pose, 40.0, 40.0, 16.0, 12.0, 32, 24)
    generator = torch.Generator().manual_seed(0)
    views = [
        HeadView(
            camera,
            Drive(torch.randn(EXPRESSION_SIZE, generator=generator)),
            torch.zeros(3),
            torch.rand(3, 24, 32, generator=generator),
            i,
        )
        for i in range(2)
    ]

    def stepped(*chosen):
        head = make_head(30)
        gradients = {}
        for name, parameter in head.named_parameters():
            parameter.register_hook(lambda grad, name=name: gradients.__setitem__(name, grad.clone()))
        optimizer = make_optimizer(head)
        state = SimpleNamespace(head=head, optimizer=optimizer, densifier=make_densifier(optimizer))
        result = TrainingStep(state, TrainingLoss(config.optimization), config)(chosen, observes=True)
        return result, gradients, state.densifier.stats.tensors()

    both, first, second = stepped(*views), stepped(views[0]), stepped(views[1])
    torch.testing.assert_close(both[0].loss, (first[0].loss + second[0].loss) / 2)
    torch.testing.assert_close(both[0].images, torch.cat([first[0].images, second[0].images]))
    for name, gradient in both[1].items():
        expected = (first[1].get(name, 0) + second[1].get(name, 0)) / 2
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    for name in ("gradient_sum", "num_seen"):
        torch.testing.assert_close(both[2][name], first[2][name] + second[2][name], rtol=1e-4, atol=1e-9)
    for name in ("max_radius", "max_opacity"):
        torch.testing.assert_close(both[2][name], torch.maximum(first[2][name], second[2][name]))
