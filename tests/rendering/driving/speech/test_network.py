"""`--audio_model FILE.onnx` with tiny real networks in a real onnxruntime; skipped where that is missing."""

import importlib.util
import sys

import numpy as np
import pytest

from rendering.driving.speech.network import OnnxSpeech
from rendering.driving.speech.sound import RATE, Sound
from rendering.driving.speech.speaking import speak
from tests.preparation.onnx_files import field, model, node, tensor
from tests.rendering.driving.speech.sounds import write
from utils.errors import UserError

needs_onnxruntime = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="needs onnxruntime: pip install onnxruntime"
)


def network(path, metadata, inputs=(1, "T"), weights=(1.0, 0.5)):
    """[1, T] -> [1, T, C]: the waveform, times one weight for each coefficient."""
    nodes = [node("Unsqueeze", ["sound", "last"], "column"), node("Mul", ["column", "weights"], "answer")]
    # INT64 is kind 7 of a tensor.
    last = field(1, 1) + field(2, 7) + field(8, "last") + field(9, (2).to_bytes(8, "little"))
    constants = [last, tensor("weights", [1, 1, len(weights)], weights)]
    content = model(nodes, constants, {"sound": list(inputs)}, {"answer": [1, "T", len(weights)]})
    entries = (field(1, key) + field(2, value) for key, value in metadata.items())
    path.write_bytes(content + b"".join(field(14, entry) for entry in entries))
    return path


@needs_onnxruntime
def test_its_coefficients_play_in_time_and_blinks_are_added(tmp_path):
    path = network(tmp_path / "n.onnx", {"coefficients": "jawOpen, mouthPucker", "rate": str(RATE)})
    ramp = np.linspace(0, 1, 10 * RATE)
    write(tmp_path / "ramp.wav", ramp, codec=("-c:a", "pcm_f32le"))
    spoken = speak(tmp_path / "ramp.wav", 20, model=path)
    at = dict(zip(spoken.names, spoken.coefficients.T, strict=True))
    middles = (np.arange(200) + 0.5) / 20 / 10
    assert at["jawOpen"] == pytest.approx(middles, abs=1e-3)
    assert at["mouthPucker"] == pytest.approx(middles / 2, abs=1e-3)
    assert at["eyeBlinkLeft"].any() and not at["mouthFunnel"].any()
    own = network(tmp_path / "own.onnx", {"coefficients": "jawOpen,eyeBlinkLeft"})
    spoken = speak(tmp_path / "ramp.wav", 20, model=own)
    at = dict(zip(spoken.names, spoken.coefficients.T, strict=True))
    assert at["eyeBlinkLeft"] == pytest.approx(middles / 2, abs=1e-3) and not at["eyeLookDownLeft"].any()


@needs_onnxruntime
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metadata": {}}, "metadata 'coefficients': expected ARKit's names.*found nothing"),
        ({"metadata": {"coefficients": "a,b"}}, "found a, b"),
        ({"metadata": {"coefficients": "jawOpen,jawOpen"}}, "jawOpen occurs twice"),
        ({"metadata": {"coefficients": "jawOpen,b", "rate": "fast"}}, "metadata 'rate'.*'fast'"),
        ({"metadata": {"coefficients": "jawOpen,b", "rate": "50"}}, "16000 frames at 50 frames/s"),
        ({"metadata": {"coefficients": "jawOpen"}}, r"gives \[1, 16000, 2\]; expected \[frames, 1\]"),
        (
            {"inputs": (1, 3, "T")},
            r"takes sound tensor\(float\).*expected one tensor\(float\) \[1, samples\]",
        ),
        ({"inputs": (1, 99)}, r"fails on \[1, 16000\]"),
        ({"weights": (9.0, 1.0)}, r"gives 9 to|gives 1 to 9"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, changes, what):
    arguments = {"metadata": {"coefficients": "jawOpen,mouthPucker"}} | changes
    with pytest.raises(UserError, match=f"--audio_model .*{what}"):
        OnnxSpeech(network(tmp_path / "n.onnx", **arguments))(Sound(None, np.ones(RATE, np.float32)))


@needs_onnxruntime
def test_no_network_is_one_line(tmp_path):
    (tmp_path / "n.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="onnxruntime cannot load it"):
        OnnxSpeech(tmp_path / "n.onnx")


def test_a_missing_onnxruntime_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        OnnxSpeech(tmp_path / "n.onnx")
