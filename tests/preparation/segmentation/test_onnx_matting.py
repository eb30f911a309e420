"""`--matting FILE.onnx` with real networks in a real onnxruntime; skipped where that is not installed."""

import importlib.util
import sys
import types
from dataclasses import replace

import cv2
import numpy as np
import pytest

import prepare as script
from arguments import PreparationParams
from preparation import pipeline
from preparation.segmentation.matting import mattes
from preparation.segmentation.onnx_matting import OnnxMatting
from preparation.tracking import poses_from_pixels
from tests.preparation.conftest import NUM_FRAMES
from tests.preparation.onnx_files import FLOAT64, color_threshold, model, node
from tests.preparation.synthetic_head import FOCAL, stub_matting
from utils.errors import UserError

# Red minus green: the synthetic face is warm, its background is green.
WARM = (40.0, -40.0, 0.0)

needs_onnxruntime = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="needs onnxruntime: pip install onnxruntime"
)


def test_onnx_matting_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace())
    with pytest.raises(UserError, match=r"--matting .*none\.onnx: no such file"):
        OnnxMatting(tmp_path / "none.onnx")
    # Importing it fails.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        OnnxMatting(tmp_path / "none.onnx")


def write(folder, content: bytes):
    path = folder / "matting.onnx"
    path.write_bytes(content)
    return path


def halves(height: int, width: int) -> np.ndarray:
    """Green above, red below; the right quarter is blue."""
    frame = np.full((height, width, 3), (40, 200, 40), np.uint8)
    frame[height // 2 :] = (200, 40, 40)
    frame[:, 3 * width // 4 :] = (20, 20, 200)
    return frame


@needs_onnxruntime
@pytest.mark.parametrize("sides", [(64, 64), (64, 96), ("h", "w")])
def test_colours_height_and_width_arrive_as_they_are(tmp_path, sides):
    network = OnnxMatting(write(tmp_path, color_threshold(WARM, 0.0, *sides)))
    matte = network(halves(120, 200))
    assert matte.shape == (1, 120, 200) and matte.dtype == np.float32
    assert matte[0, 70:, :140].min() > 0.99  # red
    assert matte[0, :50, :140].max() < 0.01  # green
    assert matte[0, :, 160:] == pytest.approx(0.5, abs=1e-3)  # neither


@needs_onnxruntime
def test_the_network_sees_minus_one_to_one(tmp_path):
    # The matte is the mean of the input here: black is -1, cut off at 0 by Relu, white is 1.
    network = OnnxMatting(write(tmp_path, color_threshold((1 / 3, 1 / 3, 1 / 3), 0.0, last="Relu")))
    for level in (0, 128, 191, 255):
        found = network(np.full((64, 64, 3), level, np.uint8))
        assert found == pytest.approx(max(0.0, level / 127.5 - 1), abs=1e-5)


@needs_onnxruntime
def test_a_matte_from_a_file_goes_through_the_filter(tmp_path):
    path = write(tmp_path, color_threshold(WARM, 0.0))
    frames = [halves(256, 256)] * 3
    found = list(mattes(frames, [OnnxMatting(path), OnnxMatting(path)]))
    for matted in found:
        assert matted.matte.min() >= 0 and matted.matte.max() <= 1
        assert matted.matte[140:, :180].min() > 0.99 and matted.matte[:116, :180].max() < 0.01


@needs_onnxruntime
def test_a_data_set_is_matted_by_the_file(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(poses_from_pixels, "SAMPLE_FRAMES", 10)
    path = write(tmp_path, color_threshold(WARM, 4.0, "h", "w"))
    options = PreparationParams(clip.path, tmp_path / "data", focal=FOCAL, size=256, torso=False, quiet=True)
    pipeline.prepare(options, replace(clip.networks(), matting=lambda: OnnxMatting(path)))
    for index in (0, NUM_FRAMES - 1):
        frame = cv2.imread(str(options.out / f"ori_imgs/{index}.jpg"))[..., ::-1]
        mask = cv2.imread(str(options.out / f"mask/{index + 1}.png"), cv2.IMREAD_GRAYSCALE)
        truth = stub_matting(np.ascontiguousarray(frame))[0] > 0.5
        # The number in the corner is neither.
        truth[:20] = mask[:20] > 127
        assert (truth & (mask > 127)).sum() / (truth | (mask > 127)).sum() > 0.95


@needs_onnxruntime
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "onnxruntime cannot load it"),
        (b"no network at all\n" * 20, "onnxruntime cannot load it"),
        (color_threshold(WARM, 0.0)[:-40], "onnxruntime cannot load it"),
        (color_threshold((1.0,), 0.0), r"takes picture tensor\(float\) \[1, 1, 64, 64\]; expected one"),
        (
            model([node("Relu", ["a"], "b")], [], {"a": [1, 3, 8, 8]}, {"b": [1, 3, 8, 8]}, FLOAT64),
            r"takes a tensor\(double\)",
        ),
        (
            model(
                [node("Add", ["a", "b"], "c")],
                [],
                {"a": [1, 3, 8, 8], "b": [1, 3, 8, 8]},
                {"c": [1, 3, 8, 8]},
            ),
            r"takes a .*, b .*; expected one",
        ),
        (
            model([node("Relu", ["a"], "b")], [], {"a": [1, 3, 8, 8]}, {"b": [1, 3, 8, 8]}),
            r"gives \[1, 3, 8, 8\]; expected a matte",
        ),
        (
            model([node("GlobalAveragePool", ["a"], "b")], [], {"a": [1, 3, 8, 8]}, {"b": [1, 3, 1, 1]}),
            r"gives \[1, 3, 1, 1\]; expected a matte",
        ),
        (color_threshold(WARM, 7.0, last="Relu"), r"gives 7 to 7; expected a matte in \[0, 1\]"),
    ],
    ids=["empty", "text", "cut off", "gray", "double", "two inputs", "colours", "classes", "range"],
)
def test_other_files_are_refused_before_any_work(clip, tmp_path, capfd, monkeypatch, content, message):
    monkeypatch.setattr("preparation.models.chosen_networks.check_mediapipe", lambda: None)
    monkeypatch.setattr("preparation.models.chosen_networks.find_model", lambda *arguments: None)
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=message):
        OnnxMatting(path)
    with pytest.raises(SystemExit) as stopped:
        script.main([str(clip.path), str(tmp_path / "out"), "--matting", str(path)])
    assert stopped.value.code == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"error: --matting {path}: "), said
    assert not (tmp_path / "out").exists()
