import json
import math

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from rendering.writer import RenderWriter
from utils.errors import UserError
from utils.images import read_png, side_by_side, to_uint8, with_label
from utils.metrics import score


def _views(num, height=33, width=40):
    generator = torch.Generator().manual_seed(0)
    for i in range(num):
        truth = torch.rand(3, height, width, generator=generator)
        image = truth + 0.1 * torch.randn(3, height, width, generator=generator)
        alpha = torch.full((height, width), 0.9)
        yield i, image, truth, alpha * (2 + 0.1 * i), alpha


def _film(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]


def test_a_set_with_truth_is_written_to_the_familys_folders(tmp_path):
    views = list(_views(3))
    with RenderWriter(tmp_path / "ours_7", split="test", iteration=7) as writer:
        for view in views:
            writer.write(*view, image_id=100 + view[0])
    for i, image, truth, _, _ in views:
        assert np.array_equal(read_png(tmp_path / "ours_7" / "renders" / f"{i:05d}.png"), to_uint8(image))
        assert np.array_equal(read_png(tmp_path / "ours_7" / "gt" / f"{i:05d}.png"), to_uint8(truth))
    assert len(_film(tmp_path / "ours_7" / "video.mp4")) == 3


def test_depth_has_the_colours_of_the_first_views_range(tmp_path):
    """A ramp, and two flat views that lie within it; all of them a tenth grey, since alpha is 0.9."""
    views = list(_views(3))
    ramp = torch.linspace(1.5, 2.5, 40).expand(33, 40)
    with RenderWriter(tmp_path, split="novel_view", iteration=7) as writer:
        for i, image, _, depth, alpha in views:
            writer.write(i, image, None, ramp * alpha if i == 0 else depth, alpha)
    limits = np.quantile(ramp.numpy(), [0.01, 0.99])
    for i, distances in enumerate((ramp.numpy(), np.full((33, 40), 2.1), np.full((33, 40), 2.2))):
        nearness = np.clip((limits[1] - distances) / (limits[1] - limits[0]), 0, 1)
        colors = cv2.applyColorMap(np.round(255 * nearness).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
        found = read_png(tmp_path / "depth" / f"{i:05d}.png")
        # A neighbouring entry of the colour map is up to 8 levels off.
        np.testing.assert_allclose(found, 0.9 * colors + 0.1 * 128, atol=8)


def test_the_film_shows_truth_beside_render_under_their_labels(tmp_path):
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 40), indexing="ij")
    truth = torch.stack([0.2 + 0.6 * x, 0.5 * y, 0.3 + 0 * x])
    image = torch.stack([0.8 - 0.6 * x, 0.3 + 0 * x, 0.5 * y])
    with RenderWriter(tmp_path, split="test", iteration=7) as writer:
        writer.write(0, image, truth, torch.ones(32, 40), torch.ones(32, 40))
    (frame,) = _film(tmp_path / "video.mp4")
    expected = [with_label(to_uint8(truth), "truth"), with_label(to_uint8(image), "render")]
    # At the seams a colour sample is shared by both sides.
    difference = np.abs(frame.astype(int) - side_by_side(expected))
    assert difference.mean() < 3
    assert np.median(difference) <= 2


def test_metrics_hold_every_view_and_their_means(tmp_path):
    views = list(_views(3))
    with RenderWriter(tmp_path, split="train", iteration=7) as writer:
        assert writer.latest_psnr() is None
        for view in views:
            writer.write(*view, image_id=100 + view[0])
        latest = writer.latest_psnr()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["split"], metrics["iteration"], metrics["num_views"]) == ("train", 7, 3)
    assert [view["image_id"] for view in metrics["per_view"]] == [100, 101, 102]
    assert latest == metrics["per_view"][2]["psnr"]
    expected = []
    for _, image, truth, _, _ in views:
        difference = (image.clamp(0, 1) - truth).double()
        expected.append((difference.abs().mean().item(), -10 * math.log10(difference.square().mean().item())))
    for view, (_, image, truth, *_), (l1, psnr) in zip(metrics["per_view"], views, expected, strict=True):
        assert view["l1"] == pytest.approx(l1, rel=1e-5)
        assert view["psnr"] == pytest.approx(psnr, rel=1e-5)
        assert view["ssim"] == pytest.approx(score(image, truth).ssim.item(), rel=1e-6)
    assert metrics["mean"]["psnr"] == pytest.approx(np.mean([psnr for _, psnr in expected]), rel=1e-5)
    assert metrics["mean"] == writer.means()
    assert set(metrics["definitions"]) >= {"l1", "psnr", "ssim"}


def test_perfect_views_leave_valid_json(tmp_path):
    (view,) = _views(1)
    _, _, truth, depth, alpha = view
    with RenderWriter(tmp_path, split="test", iteration=1) as writer:
        writer.write(0, truth, truth, depth, alpha)
    text = (tmp_path / "metrics.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["per_view"][0]["psnr"] is None


def test_novel_views_have_no_truth_and_no_metrics(tmp_path):
    with RenderWriter(tmp_path, split="novel_view", iteration=7) as writer:
        for i, image, _, depth, alpha in _views(2):
            writer.write(i, image, None, depth, alpha)
    assert writer.means() is None
    assert not (tmp_path / "gt").exists() and not (tmp_path / "metrics.json").exists()
    assert [frame.shape for frame in _film(tmp_path / "video.mp4")] == [(34, 40, 3)] * 2


def test_an_earlier_set_is_removed_and_other_files_stay(tmp_path):
    for num in (4, 2):
        with RenderWriter(tmp_path, split="test", iteration=1) as writer:
            for view in _views(num):
                writer.write(*view)
        (tmp_path / "renders" / "mine.png").touch()
    assert sorted(p.name for p in (tmp_path / "renders").iterdir()) == ["00000.png", "00001.png", "mine.png"]
    assert json.loads((tmp_path / "metrics.json").read_text())["num_views"] == 2


def test_an_interrupted_set_has_neither_video_nor_metrics(tmp_path):
    with pytest.raises(KeyboardInterrupt), RenderWriter(tmp_path, split="test", iteration=1) as writer:
        for view in _views(2):
            writer.write(*view)
        raise KeyboardInterrupt
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))
    assert not (tmp_path / "metrics.json").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    # A file where a folder should be.
    (tmp_path / "depth").touch()
    with (
        pytest.raises(UserError, match=r"depth.00000\.png: cannot be written"),
        RenderWriter(tmp_path, split="test", iteration=1) as writer,
    ):
        writer.write(*next(_views(1)))


def test_a_set_that_fails_after_its_first_frames_has_no_film(tmp_path):
    """The encoder's threads fail, not the block: what was filmed until then is half a film."""
    *views, (_, *larger) = (*_views(2), *_views(1, height=50))
    with pytest.raises(ValueError), RenderWriter(tmp_path, split="test", iteration=1) as writer:
        for view in (*views, (2, *larger)):
            writer.write(*view)
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))
    assert not (tmp_path / "metrics.json").exists()


def test_without_ffmpeg_everything_but_the_video_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    with RenderWriter(tmp_path / "ours_7", split="test", iteration=7) as writer:
        for view in _views(2):
            writer.write(*view)
    assert len(list((tmp_path / "ours_7" / "renders").glob("*.png"))) == 2
    assert json.loads((tmp_path / "ours_7" / "metrics.json").read_text())["num_views"] == 2
    assert not (tmp_path / "ours_7" / "video.mp4").exists()
    assert capsys.readouterr().err.count("ffmpeg cannot be started") == 1


def test_a_transparent_set_has_the_rendered_alpha_and_straight_colour(tmp_path):
    generator = torch.Generator().manual_seed(0)
    color = torch.rand(3, 20, 30, generator=generator)
    alpha = torch.rand(20, 30, generator=generator)
    alpha[:5] = 0
    with RenderWriter(tmp_path, split="x", iteration=1, alpha_format="webm") as writer:
        for index in range(2):
            writer.write(index, color * alpha, None, alpha * 2, alpha)
    pixels = cv2.imread(str(tmp_path / "renders" / "00000.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(pixels[..., 3], to_uint8(alpha))
    assert not pixels[:5].any()
    assert np.abs(pixels[5:, :, 2::-1].astype(int) - to_uint8(color)[5:]).max() <= 1
    assert (tmp_path / "video.webm").stat().st_size > 0 and not (tmp_path / "video.mp4").exists()


def test_the_driver_stands_beside_the_avatar_in_the_film_alone(tmp_path):
    (_, image, truth, depth, alpha), *_ = _views(1, height=32)
    with RenderWriter(tmp_path, split="x", iteration=1) as writer:
        writer.write(0, image, None, depth, alpha, companion=truth[:, :, :20])
    assert _film(tmp_path / "video.mp4")[0].shape == (50, 60, 3)
    assert read_png(tmp_path / "renders" / "00000.png").shape == (32, 40, 3)
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.gpu
def test_views_that_a_gpu_prepares_together_are_written_as_on_the_cpu(tmp_path):
    views = list(_views(19))
    for device in ("cpu", "cuda"):
        with RenderWriter(tmp_path / device, split="test", iteration=7, has_film=False) as writer:
            for index, *tensors in views:
                writer.write(index, *(tensor.to(device) for tensor in tensors), image_id=index)
    for kind in ("renders", "gt", "depth"):
        for index in range(19):
            there, here = (read_png(tmp_path / d / kind / f"{index:05d}.png") for d in ("cuda", "cpu"))
            # Nearness may round to the next entry of the colour map, up to 8 levels off.
            assert np.abs(there.astype(int) - here).max() <= (8 if kind == "depth" else 0)
    there, here = (json.loads((tmp_path / d / "metrics.json").read_text()) for d in ("cuda", "cpu"))
    assert [view["image_id"] for view in there["per_view"]] == list(range(19))
    for one, other in zip(there["per_view"], here["per_view"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_several_views_are_prepared_together_and_the_rest_at_the_end(tmp_path, monkeypatch):
    """What a GPU does, on the CPU: views of a size that leaves some over."""
    monkeypatch.setattr("rendering.writer._views_at_once", lambda depth: 4)
    views = list(_views(6))
    with RenderWriter(tmp_path, split="test", iteration=7) as writer:
        for number, view in enumerate(views):
            assert len(writer._held) == number % 4
            writer.write(*view)
    for i, image, truth, _, _ in views:
        assert np.array_equal(read_png(tmp_path / "renders" / f"{i:05d}.png"), to_uint8(image))
        assert np.array_equal(read_png(tmp_path / "gt" / f"{i:05d}.png"), to_uint8(truth))
    found = json.loads((tmp_path / "metrics.json").read_text())["per_view"]
    expected = [score(image, truth).psnr.item() for _, image, truth, _, _ in views]
    assert [view["psnr"] for view in found] == pytest.approx(expected, rel=1e-6)
    assert len(_film(tmp_path / "video.mp4")) == 6
