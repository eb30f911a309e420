"""A recorded step does what the step does, and is recorded anew where it must be."""

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer import recording
from scene.cameras import Camera
from scene.views import Drive, HeadView, SideView
from tests.scene.heads import make_head
from tests.synthetic import write_clip
from train import train
from training.captured_step import CapturedStep, _clone, _copy_
from training.start import begin, can_be_captured
from training.step import StepResult


def view(value: float, device: str) -> HeadView:
    """A view whose tensors all hold one number."""
    tensors = [torch.full(shape, value, device=device) for shape in ((3,), (4, 4), (3, 2, 2), (3,))]
    expression, pose, image, background = tensors
    camera = Camera(pose.clone(), 1.0, 1.0, 0.5, 0.5, 2, 2)
    side = SideView(pose.clone(), image[0].clone())
    return HeadView(camera, Drive(expression, pose), background, image, 7, side)


class Counter:
    """A step that adds up what it sees, and counts how often Python runs it."""

    def __init__(self, device: str) -> None:
        self.total = torch.zeros((), device=device)
        self.num_calls = 0

    def __call__(self, views: list[HeadView], observes: bool) -> StepResult:
        self.num_calls += 1
        parts = [(v.truth[0, 0, 0], v.camera.world_to_camera[0, 0], v.drive.expression[0]) for v in views]
        seen = torch.stack([sum(part) for part in parts])
        self.total += seen.sum()
        return StepResult(2 * seen, torch.stack([v.truth for v in views]) + 1)


def test_without_a_graph_every_call_runs_the_step():
    counter = Counter("cpu")
    step = CapturedStep(counter, make_head(), is_enabled=False)
    for value in range(4):
        assert step([view(value, "cpu")], True).loss == 6 * value
    assert counter.num_calls == 4 and counter.total == 3 * (1 + 2 + 3)


@pytest.mark.gpu
def test_graph_reads_each_view_and_runs_the_step_only_to_record_it():
    counter = Counter("cuda")
    step = CapturedStep(counter, make_head(), is_enabled=True)
    for value in range(6):
        result = step([view(value, "cuda"), view(10 * value, "cuda")], True)
        assert result.loss.tolist() == [6 * value, 60 * value]
        assert (result.images[0] == value + 1).all() and (result.images[1] == 10 * value + 1).all()
    assert counter.num_calls == 2 and counter.total == 33 * sum(range(6))


@pytest.mark.gpu
@pytest.mark.parametrize("change", ["forget", "observes", "deforms", "active_sh_degree", "lists"])
def test_graph_is_recorded_anew_when_the_step_changes(change, monkeypatch):
    counter, head = Counter("cuda"), make_head()
    step = CapturedStep(counter, head, is_enabled=True)
    for _ in range(3):
        step([view(1, "cuda")], True)
    if change == "forget":
        step.forget()
    elif change == "lists":
        answers = iter([True])
        monkeypatch.setattr(recording, "has_short_lists", lambda _: next(answers, False))
    elif change != "observes":
        setattr(head, change, int(not getattr(head, change)))
    for _ in range(3):
        step([view(1, "cuda")], change != "observes")
    assert counter.num_calls == 4 and counter.total == 18


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["best", "paper"])
def test_training_with_graphs_follows_training_without(tmp_path, preset):
    """Through warm-up, densification, SH degrees and the average of weights. Gradients are sums in varying
    order, which training enlarges: hence a few per cent after 60 steps."""
    clip = write_clip(tmp_path / "clip", num_frames=8, width=64, height=48)
    schedule = dict(warm_up=10, sh_increase_interval=20, densify_from_iter=25, densify_until_iter=45)
    schedule |= dict(densification_interval=10, initial_gaussians=300, iterations=60, seed=3, lambda_vgg=0)
    flags = [word for name, value in schedule.items() for word in (f"--{name}", str(value))]
    losses = {}
    for name in ("cuda_graph", "no-cuda_graph"):
        argv = ["-s", str(clip), "-m", str(tmp_path / name), "--preset", preset, f"--{name}", "--quiet"]
        config = parse_train_args([*argv, *flags])
        losses[name] = []
        with begin(config) as session:
            report = session.report

            def record(result, truth, name=name, report=report):
                losses[name].append(float(result.loss))
                report(result, truth)

            session.report = record
            train(session)
            num = len(session.state.head.gaussians)
            steps = [float(m.step) for m in session.state.optimizer.adam.moments.values()]
            assert max(steps) == 60 and num != 300
    torch.testing.assert_close(
        torch.tensor(losses["cuda_graph"][:20]), torch.tensor(losses["no-cuda_graph"][:20]), rtol=1e-3, atol=0
    )
    end = [sum(values[-8:]) / 8 for values in losses.values()]
    assert end[0] == pytest.approx(end[1], rel=0.05)


@pytest.mark.gpu
def test_what_looks_at_values_is_not_recorded(tmp_path):
    clip = write_clip(tmp_path / "clip", num_frames=8)
    argv = ["-s", str(clip), "-m", str(tmp_path / "run"), "--is_debug"]
    device = torch.device("cuda")
    assert can_be_captured(parse_train_args(argv), device)
    for flag in ("--detect_anomaly", "--debug", "--no-cuda_graph"):
        assert not can_be_captured(parse_train_args([*argv, flag]), device)


def test_what_a_graph_reads_is_replaced_tensor_by_tensor():
    there, other = _clone(view(1, "cpu")), _clone(view(1, "cpu"))
    addresses = [t.data_ptr() for t in (there.truth, there.drive.expression, there.side.pose)]
    _copy_([there, other], [view(2, "cpu"), view(3, "cpu")])
    assert (other.truth == 3).all()
    values = [*there.drive[:2], there.background, there.truth, *there.side, there.camera.world_to_camera]
    assert all((value == 2).all() for value in values)
    assert addresses == [t.data_ptr() for t in (there.truth, there.drive.expression, there.side.pose)]
