import torch

from scene.cameras import Camera
from scene.dataset import Frame
from scene.views import SideView
from training.augmentation import Augmentation, on_background, signal_noise

CAMERA = Camera(torch.eye(4), 5.0, 5.0, 2.5, 2.0, 5, 4)


def test_an_image_on_another_background_is_that_composition():
    rgb, matte = torch.rand(3, 4, 5), torch.rand(4, 5)
    old, new = torch.ones(3), torch.tensor([0.2, 0.4, 0.6])
    image = rgb * matte + old[:, None, None] * (1 - matte)
    frame = Frame(0, 0, None, torch.zeros(1), image, matte)
    expected = rgb * matte + new[:, None, None] * (1 - matte)
    torch.testing.assert_close(on_background(frame, old, new), expected)


def test_noise_has_the_asked_share_of_each_spread():
    spread, generator = torch.tensor([0.0, 1.0, 3.0]), torch.Generator().manual_seed(0)
    samples = torch.stack([signal_noise(spread, 0.1, generator) for _ in range(2_000)])
    torch.testing.assert_close(samples.mean(0), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(samples.std(0), 0.1 * spread, atol=0.02, rtol=0)


def test_frames_of_a_step_share_a_background_and_have_noise_of_their_own_and_one_side_view():
    white, matte = torch.ones(3), torch.rand(4, 5)
    frames = [
        Frame(i, 10 + i, CAMERA, torch.zeros(3), torch.rand(3, 4, 5) * matte + 1 - matte, matte)
        for i in range(2)
    ]
    sides = [SideView(torch.eye(4) * i, torch.zeros(4, 5, dtype=torch.bool)) for i in range(3)]
    augmentation = Augmentation(white, True, 0.5, torch.tensor([1.0, 2.0, 0.0]), sides)
    views = augmentation(frames, 2, torch.Generator().manual_seed(0))
    assert [view.image_id for view in views] == [10, 11]
    assert views[0].background is views[1].background and views[0].background.shape == (3,)
    assert views[0].side is sides[2] and views[1].side is None
    assert not torch.equal(views[0].drive.noise, views[1].drive.noise) and views[1].drive.noise[2] == 0
    for view, frame in zip(views, frames):
        expected = on_background(frame, white, views[0].background)
        torch.testing.assert_close(view.truth, expected)


def test_alone_a_frame_stays_as_it_is():
    frame = Frame(0, 3, CAMERA, torch.zeros(3), torch.rand(3, 4, 5), torch.rand(4, 5))
    (view,) = Augmentation(torch.ones(3))([frame], 0, torch.Generator())
    assert (
        view.truth is frame.image
        and torch.equal(view.drive.expression, frame.expression)
        and view.side is None
    )
