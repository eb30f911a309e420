import json
import math

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from rendering.writer import RenderWriter
from utils.errors import UserError
from utils.images import read_png, to_uint8


def _views(num, height=33, width=40):
    generator = torch.Generator().manual_seed(0)
    for i in range(num):
        truth = torch.rand(3, height, width, generator=generator)
        image = truth + 0.1 * torch.randn(3, height, width, generator=generator)
        alpha = torch.full((height, width), 0.9)
        yield i, image, truth, alpha * (2 + 0.1 * i), alpha


def _num_frames_and_size(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    size = next(reader)["size"]
    return sum(1 for _ in reader), size


def test_a_set_with_truth_is_written_to_the_familys_folders(tmp_path):
    views = list(_views(3))
    with RenderWriter(tmp_path / "ours_7", split="test", iteration=7) as writer:
        for view in views:
            writer.write(*view, image_id=100 + view[0])
    for i, image, truth, _, _ in views:
        assert np.array_equal(read_png(tmp_path / "ours_7" / "renders" / f"{i:05d}.png"), to_uint8(image))
        assert np.array_equal(read_png(tmp_path / "ours_7" / "gt" / f"{i:05d}.png"), to_uint8(truth))
        assert read_png(tmp_path / "ours_7" / "depth" / f"{i:05d}.png").shape == (33, 40, 3)
    num_frames, (width, height) = _num_frames_and_size(tmp_path / "ours_7" / "video.mp4")
    assert num_frames == 3
    assert width == 2 * 40 and height >= 33


def test_metrics_hold_every_view_and_their_means(tmp_path):
    views = list(_views(3))
    with RenderWriter(tmp_path, split="train", iteration=7) as writer:
        returned = [writer.write(*view, image_id=100 + view[0]) for view in views]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["split"], metrics["iteration"], metrics["num_views"]) == ("train", 7, 3)
    assert [view["image_id"] for view in metrics["per_view"]] == [100, 101, 102]
    expected = []
    for _, image, truth, _, _ in views:
        difference = (image.clamp(0, 1) - truth).double()
        expected.append((difference.abs().mean().item(), -10 * math.log10(difference.square().mean().item())))
    for view, scores, (l1, psnr) in zip(metrics["per_view"], returned, expected, strict=True):
        assert view["l1"] == pytest.approx(l1, rel=1e-5)
        assert view["psnr"] == pytest.approx(psnr, rel=1e-5)
        assert view["ssim"] == scores.ssim.item()
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
            assert writer.write(i, image, None, depth, alpha) is None
    assert writer.means() is None
    assert not (tmp_path / "gt").exists() and not (tmp_path / "metrics.json").exists()
    assert _num_frames_and_size(tmp_path / "video.mp4") == (2, (40, 34))


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
    (tmp_path / "depth").touch()  # a file where a folder should be
    with (
        pytest.raises(UserError, match=r"depth.00000\.png: cannot be written"),
        RenderWriter(tmp_path, split="test", iteration=1) as writer,
    ):
        writer.write(*next(_views(1)))


def test_without_ffmpeg_everything_but_the_video_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    with RenderWriter(tmp_path / "ours_7", split="test", iteration=7) as writer:
        for view in _views(2):
            writer.write(*view)
    assert len(list((tmp_path / "ours_7" / "renders").glob("*.png"))) == 2
    assert json.loads((tmp_path / "ours_7" / "metrics.json").read_text())["num_views"] == 2
    assert not (tmp_path / "ours_7" / "video.mp4").exists()
    assert capsys.readouterr().err.count("ffmpeg cannot be started") == 1
