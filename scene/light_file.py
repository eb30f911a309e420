"""A light head in a file: places of 16 bits, the neutral splats in half precision, and its bases, a byte for
each number, deflated: most are zero, or small."""

import zlib

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scene.blendshapes import OFFSET_SIZES
from scene.light_head import NUM_POSE_FEATURES, Basis, LightHead, Neutral, Torso

# In the metadata of a file with a light head.
MARKER = "light"
_LARGEST = 32_767
# Numbers of one basis: an avatar of 50,000 splats has 20 million.
_LARGEST_BASIS = 1 << 30


def pack_light_head(head: LightHead) -> dict[str, Tensor]:
    """The tensors of a file."""
    neutral = head.neutral
    step = (neutral.xyz.abs().amax() / _LARGEST).clamp_min(1e-12)
    tensors = {f"neutral.{name}": value.half() for name, value in neutral._asdict().items()}
    tensors["neutral.xyz"] = (neutral.xyz / step).round().to(torch.int16)
    tensors |= {"neutral.step": step, "expression.neutral": head.neutral_expression}
    tensors["expression.ranges"] = head.ranges
    torso = head.torso._asdict()
    torso["membership"] = torso["membership"].half()
    tensors |= {f"torso.{name}": value for name, value in torso.items()}
    for name, basis in head.bases.items():
        tensors[f"{name}.weights"], tensors[f"{name}.steps"] = basis.weights, basis.steps
        tensors[f"{name}.values"] = _deflated(basis.values.permute(0, 2, 1))
    return tensors


def unpack_light_head(tensors: dict[str, Tensor]) -> LightHead:
    """Invert `pack_light_head`. Raises KeyError or RuntimeError for others."""
    parts = {name: tensors[f"neutral.{name}"].float() for name in Neutral._fields}
    parts["xyz"] = parts["xyz"] * tensors["neutral.step"]
    num_splats, bases = len(parts["xyz"]), {}
    expression = [tensors[f"expression.{name}"].float() for name in ("neutral", "ranges")]
    num_features = 2 * len(expression[0]) + NUM_POSE_FEATURES
    for name, size in OFFSET_SIZES.items():
        weights, steps = tensors[f"{name}.weights"], tensors[f"{name}.steps"]
        if len(weights) * max(num_features, size * num_splats) > _LARGEST_BASIS:
            raise RuntimeError(f"{name}: {len(weights)} bases of {num_splats} splats, too many")
        # Older files know nothing of the pose.
        weights = F.pad(weights, (0, num_features - weights.shape[1]))
        values = _inflated(tensors[f"{name}.values"], (len(weights), size, num_splats))
        bases[name] = Basis(weights, steps, values.permute(0, 2, 1).contiguous())
    still = Torso.still(num_splats)._asdict()
    torso = {name: tensors.get(f"torso.{name}", value).float() for name, value in still.items()}
    return LightHead(Neutral(**parts), bases, *expression, Torso(**torso))


def _deflated(values: Tensor) -> Tensor:
    packed = zlib.compress(values.cpu().contiguous().numpy().tobytes())
    return torch.from_numpy(np.frombuffer(packed, dtype=np.uint8).copy())


def _inflated(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    expected = int(np.prod(shape))
    try:
        # No more than that, whatever the file says.
        content = zlib.decompressobj().decompress(packed.numpy().tobytes(), max(1, expected))
    except zlib.error as error:
        raise RuntimeError(f"its bases are damaged: {error}") from error
    if len(content) != expected:
        raise RuntimeError(f"its bases have {len(content)} numbers, expected {expected}")
    return torch.from_numpy(np.frombuffer(content, dtype=np.int8).copy()).view(shape)


def packed_size(head: LightHead) -> int:
    """Bytes of the tensors of its file; the header has about 6,000 more."""
    return sum(value.numel() * value.element_size() for value in pack_light_head(head).values())
