"""glTF 2.0 in one binary file (.glb): a JSON document, and the arrays that its accessors name."""

import json
import struct

import numpy as np

COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GlbArrays:
    """The arrays of a document while it is made."""

    def __init__(self) -> None:
        self._accessors: list[dict] = []
        self._views: list[dict] = []
        self._content = bytearray()

    def add(self, values: np.ndarray, has_range: bool = False) -> int:
        """Append an array [N] or [N, C] and return its accessor; `has_range` writes least and most, as glTF
        asks for positions and times."""
        values = np.ascontiguousarray(values).reshape(len(values), -1)
        self._views.append(
            {"buffer": 0, "byteOffset": len(self._content), "byteLength": values.nbytes},
        )
        self._content += values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._content += b"\0" * (-len(self._content) % 4)
        accessor = {
            "bufferView": len(self._views) - 1,
            "componentType": COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": SHAPES[values.shape[1]],
        }
        if has_range:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def encoded(self, document: dict) -> bytes:
        """The file of a document that uses these arrays."""
        whole = {
            "asset": {"version": "2.0", "generator": "GaussianHead"},
            **document,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._content)}],
        }
        text = json.dumps(whole, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + len(self._content)
        return b"".join(
            [
                struct.pack("<4sII", b"glTF", 2, size),
                struct.pack("<I4s", len(text), b"JSON"),
                text,
                struct.pack("<I4s", len(self._content), b"BIN\0"),
                bytes(self._content),
            ]
        )
