"""A head of the published GaussianHead code (chiehwangs/gaussian-head at 59f794c), with its quirks.

Written from a description of its checkpoints, in formulas; import_checkpoint.py reads them. Where it differs
from our head of the same paper:

- What derivation really is: the deformed mean with each axis stretched by a factor of its own, one for each
  of four doppelgangers. The factors depend on all rows and their order, so they are computed once, at the
  import (`zooms_of`), and belong to a Gaussian from then on.
- Offsets of scales are added behind the exponential; offset quaternions are not normalised again, so that the
  covariance is B diag(s)^2 B^T with a B that is no rotation: it goes to the rasterizer as it is.
- Every doppelganger reads the same eight channels of the planes, in world units. Hidden layers of the
  opacity decoder are sigmoids; the colour decoder is linear, and so is one matrix here.
- Colours have SH of degree 3, always; their direction is that of the canonical mean when they are decoded,
  and that of the deformed one when they are drawn.
- The principal point is the centre of the picture, whatever the data say.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diff_gaussian_rasterization import Splats
from scene import published_kernels
from scene.cameras import NEAR, Camera
from scene.head_model import stacked
from scene.triplane import PLANE_AXES
from scene.views import Drive
from utils.rotations import packed_covariances, quaternion_polynomial

NUM_FREQUENCIES, ENCODING_SIZE = 10, 63
DEPTH, WIDTH, REJOINED_AT = 8, 256, 5
NUM_DERIVATIONS, NUM_CHANNELS, RESOLUTION = 4, 8, 64
NUM_GEOMETRY, NUM_SH = 32, 16
# Of a weight that the kernels take, which have halves.
LARGEST_WEIGHT = 65504
# Floor of a length.
SMALLEST = 1e-12


def shapes_of(num: int, expression_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all that a head of N Gaussians holds."""
    signal = ENCODING_SIZE + expression_size
    inputs = [signal] + [WIDTH] * (DEPTH - 1)
    inputs[REJOINED_AT] += signal
    return {
        "xyz": (num, 3),
        "log_scale": (num, 3),
        "rotation": (num, 4),
        "zooms": (num, NUM_DERIVATIONS, 3),
        "planes": (3, NUM_CHANNELS, RESOLUTION, RESOLUTION),
        **{f"field.{i}.weight": (WIDTH, size) for i, size in enumerate(inputs)},
        **{f"field.{i}.bias": (WIDTH,) for i in range(DEPTH)},
        "offsets.weight": (10, WIDTH),
        "offsets.bias": (10,),
        "decoder.0": (64, NUM_DERIVATIONS * NUM_CHANNELS),
        "decoder.1": (64, 64),
        "decoder.2": (1 + NUM_GEOMETRY, 64),
        "sh.weight": (3 * NUM_SH, NUM_GEOMETRY + 3),
        "sh.bias": (3 * NUM_SH,),
    }


class PublishedHead(nn.Module):
    """Tensors by the names of `shapes_of`. `deforms`: whether expressions move it.

    Raises ValueError or KeyError where a tensor is missing or has another shape.
    """

    def __init__(self, tensors: dict[str, Tensor], deforms: bool) -> None:
        super().__init__()
        self.deforms = deforms
        self.scaffold = None
        self.expression_size = tensors["field.0.weight"].shape[1] - ENCODING_SIZE
        if self.expression_size < 1:
            raise ValueError("field.0.weight: too few columns for an expression")
        for name, shape in shapes_of(len(tensors["xyz"]), self.expression_size).items():
            if tuple(tensors[name].shape) != shape:
                raise ValueError(f"{name}: shape {list(tensors[name].shape)}, expected {list(shape)}")
            self.register_buffer(_attribute(name), tensors[name].float().contiguous())
        # What no expression changes.
        self.register_buffer("encoding", encoded(self.xyz), persistent=False)  # [N, 63]
        weights = [
            t for name, t in self.tensors().items() if name.startswith(("field", "offsets", "decoder", "sh"))
        ]
        # Where they can (scene/published_kernels.py); what they do is the same.
        self.uses_kernels = all(bool((weight.abs() <= LARGEST_WEIGHT).all()) for weight in weights)
        self.packed: published_kernels.Packed | None = None

    @property
    def num_splats(self) -> int:
        """Gaussians."""
        return len(self.xyz)

    def tensors(self) -> dict[str, Tensor]:
        """By the names of `shapes_of`."""
        return {name: getattr(self, _attribute(name)) for name in shapes_of(1, self.expression_size)}

    def lens(self, camera: Camera) -> Camera:
        """A camera as this head was learned with: its principal point in the centre, the usual near plane."""
        return replace(camera, cx=camera.width / 2, cy=camera.height / 2, near=NEAR)

    def forward(self, camera: Camera, drive: Drive | Tensor) -> Splats:
        """The splats of a driven head as seen from `camera`; they carry covariances. Of a drive, only the
        expression [E] counts."""
        expression = drive if isinstance(drive, Tensor) else drive.expression
        if published_kernels.applies(self, [camera], [expression]):
            splats = published_kernels.driven_splats(self, [camera], [expression])
            return Splats(*(None if part is None else part[0] for part in splats))
        means, scales, rotations = self.deformed(expression)
        opacities, geometry = self.decoded(self.features(means[:, None] * self.zooms))
        directions = F.normalize(self.xyz - camera.center, dim=1)
        sh = F.linear(torch.cat([geometry, directions], dim=1), *self.layer("sh"))  # [N, 48]
        return Splats(
            means=means,
            opacities=opacities,
            scales=None,
            rotations=None,
            sh=sh.view(-1, NUM_SH, 3),
            cov3d=packed_covariances(quaternion_polynomial(rotations), scales),
        )

    def views(self, cameras: Sequence[Camera], drives: Sequence[Drive]) -> Splats:
        """What `forward` gives for V cameras and drives, stacked: [V, N, ...]."""
        expressions = [drive.expression for drive in drives]
        if published_kernels.applies(self, cameras, expressions):
            return published_kernels.driven_splats(self, cameras, expressions)
        return stacked([self(camera, drive) for camera, drive in zip(cameras, drives, strict=True)])

    def deformed(self, expression: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means [N, 3], scales [N, 3], quaternions [N, 4] of any length, under an expression [E]."""
        scales = self.log_scale.exp()
        rotations = F.normalize(self.rotation, dim=1, eps=SMALLEST)
        if not self.deforms:
            return self.xyz, scales, rotations
        if published_kernels.applies(self, [], [expression]):
            offsets = published_kernels.offsets(self, [expression])[0]
        else:
            offsets = self._offsets(expression)
        shift, turn, growth = offsets.split([3, 4, 3], dim=1)
        return self.xyz + shift, scales + growth, rotations + turn

    def _offsets(self, expression: Tensor) -> Tensor:  # [N, 10]
        hidden = self.encoding
        for i in range(DEPTH):
            weight, bias = self.layer(f"field.{i}")
            if i in (0, REJOINED_AT):
                # The expression is the same for all: its product is computed once.
                own, common, rest = self.parts_of_layer(i)
                bias = bias + common @ expression
                weight = torch.cat([own, rest], dim=1)
                hidden = torch.cat([self.encoding, hidden], dim=1) if i else self.encoding
            hidden = F.relu_(F.linear(hidden, weight, bias))
        return F.linear(hidden, *self.layer("offsets"))

    def features(self, places: Tensor) -> Tensor:  # [N, 32]
        """What doppelgangers at places [N, 4, 3] read: the product over the planes, one after the other."""
        num = len(places)
        axes = places.unbind(-1)
        grid = torch.stack([torch.stack([axes[i], axes[j]], dim=-1) for i, j in PLANE_AXES])  # [3, N, 4, 2]
        samples = F.grid_sample(self.planes, grid, padding_mode="border", align_corners=True)  # [3, 8, N, 4]
        return samples.prod(dim=0).permute(1, 2, 0).reshape(num, -1)

    def decoded(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Opacities [N] and geometry [N, 32] of features [N, 32]."""
        hidden = torch.sigmoid(features @ self.decoder_0.t())
        hidden = torch.sigmoid(hidden @ self.decoder_1.t())
        numbers = hidden @ self.decoder_2.t()
        return torch.sigmoid(numbers[:, 0]), numbers[:, 1:]

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return getattr(self, _attribute(f"{name}.weight")), getattr(self, _attribute(f"{name}.bias"))

    def parts_of_layer(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of layer 0 or REJOINED_AT: what is multiplied with the encoded place, with the expression, and
        with the layer before."""
        weight, _ = self.layer(f"field.{index}")
        rest = weight.shape[1] - ENCODING_SIZE - self.expression_size
        return weight.split([ENCODING_SIZE, self.expression_size, rest], dim=1)


def encoded(points: Tensor) -> Tensor:  # [N, 63]
    """Points [N, 3] as themselves, then sine and cosine of all three of each octave: octave after octave."""
    parts = [points]
    for octave in range(NUM_FREQUENCIES):
        parts += [torch.sin(2**octave * points), torch.cos(2**octave * points)]
    return torch.cat(parts, dim=1)


def zooms_of(tau: Tensor) -> Tensor:  # [N, K, 3]
    """The factors by which doppelganger k of Gaussian n stretches each axis, from quaternions tau [N, K, 4].

    The nine entries of a rotation's matrix, of all Gaussians, are joined entry by entry and cut again into
    pieces of nine; a factor is the sum of a column of such a piece. All rows in the order of the file.
    """
    num = len(tau)
    length = tau.norm(dim=-1, keepdim=True).clamp_min(SMALLEST)  # [N, K, 1]
    product = 2 * tau[..., :, None] * tau[..., None, :] / length[..., None]  # [N, K, 4, 4] of w x y z
    xx, yy, zz = product[..., 1, 1], product[..., 2, 2], product[..., 3, 3]
    xy, xz, yz = product[..., 1, 2], product[..., 1, 3], product[..., 2, 3]
    wx, wy, wz = product[..., 0, 1], product[..., 0, 2], product[..., 0, 3]
    entries = (1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx)
    entries = torch.stack([*entries, 1 - xx - yy])  # [9, N, K]
    pieces = entries.reshape(9 * num, -1).reshape(num, 3, 3, -1)  # [N, row, column, K]
    return pieces.sum(dim=1).transpose(1, 2).contiguous()


def _attribute(name: str) -> str:
    return name.replace(".", "_")
