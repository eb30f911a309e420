"""Small ONNX models, written without the onnx package: protobuf's wire format is tags, lengths and bytes."""

import struct
from collections.abc import Sequence

# onnx.TensorProto.DataType.
FLOAT32, FLOAT64 = 1, 11
Shape = Sequence[int | str]


def color_threshold(
    weights: Sequence[float],
    bias: float,
    height: int | str = 64,
    width: int | str = 64,
    last: str = "Sigmoid",
) -> bytes:
    """A network [1, C, h, w] -> [1, 1, h, w]: a 1 x 1 convolution, one weight a channel, and a function."""
    nodes = [node("Conv", ["picture", "weights", "bias"], "sum"), node(last, ["sum"], "matte")]
    constants = [tensor("weights", [1, len(weights), 1, 1], weights), tensor("bias", [1], [bias])]
    shape = [1, len(weights), height, width]
    return model(nodes, constants, {"picture": shape}, {"matte": [1, 1, height, width]})


def model(
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    kind: int = FLOAT32,
) -> bytes:
    """The content of a file."""
    graph = b"".join(field(1, one) for one in nodes) + field(2, "graph")
    graph += b"".join(field(5, one) for one in constants)
    for number, values in ((11, inputs), (12, outputs)):
        graph += b"".join(field(number, _value(name, shape, kind)) for name, shape in values.items())
    # Version 8 of the format, operator set 13.
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator)


def tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    return b"".join(field(1, side) for side in shape) + field(2, FLOAT32) + field(8, name) + field(9, raw)


def field(number: int, value: int | str | bytes) -> bytes:
    """A protobuf field: a varint, or bytes after their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value(name: str, shape: Shape, kind: int) -> bytes:
    sides = b"".join(field(1, field(1 if isinstance(side, int) else 2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sides)))


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])
