"""Networks in ONNX files that users name, through onnxruntime, which is optional."""

from collections.abc import Callable
from pathlib import Path

from utils.errors import UserError


def onnx_session(flag: str, path: Path, takes: Callable[[list], bool], expected: str):
    """The session of a file that `flag` names, on the CPU, with one float32 input whose shape `takes` it.

    Raises UserError without onnxruntime, for a file that it cannot load, and for another input than the one
    `expected` in words.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(f"{flag}: no module named onnxruntime: pip install onnxruntime") from None
    if not path.is_file():
        raise UserError(f"{flag} {path}: no such file; expected an ONNX model")
    options = onnxruntime.SessionOptions()
    # Its errors are exceptions too, and those we print.
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{flag} {path}: onnxruntime cannot load it ({error})") from None
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not takes(inputs[0].shape):
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs) or "nothing"
        raise UserError(f"{flag} {path}: takes {found}; expected one tensor(float) {expected}")
    return session
