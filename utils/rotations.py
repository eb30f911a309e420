"""Quaternions, real part first (wxyz), as the 3DGS family stores them.

A unit quaternion is a point on S^3; q and -q are the same rotation. Nothing here changes its arguments.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def quaternion_to_matrix(quaternions: Tensor) -> Tensor:
    """Turn quaternions [..., 4] (wxyz, any non-zero length) into rotation matrices [..., 3, 3].

    Normalises inside, with gradient. A zero quaternion gives the identity. Source: Diebel 2006, Eq. 125.
    """
    _check_quaternions(quaternions, "quaternions")
    return quaternion_polynomial(F.normalize(quaternions, dim=-1))


def quaternion_polynomial(quaternions: Tensor) -> Tensor:
    """The same of quaternions as they are: no rotation where their length is not 1."""
    _check_quaternions(quaternions, "quaternions")
    w, x, y, z = quaternions.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)  # [..., 3, 3]


def quaternion_multiply(first: Tensor, second: Tensor) -> Tensor:
    """Multiply quaternions [..., 4] (Hamilton, broadcasting): rotates by `second`, then by `first`."""
    _check_quaternions(first, "first")
    _check_quaternions(second, "second")
    w1, x1, y1, z1 = first.unbind(-1)
    w2, x2, y2, z2 = second.unbind(-1)
    return torch.stack(
        (
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ),
        dim=-1,
    )


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Turn rotation matrices [..., 3, 3] of less than 180 degrees into unit quaternions [..., 4] (wxyz, w >
    0)."""
    w = 0.5 * (1 + matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)).clamp_min(1e-12).sqrt()
    x = matrix[..., 2, 1] - matrix[..., 1, 2]
    y = matrix[..., 0, 2] - matrix[..., 2, 0]
    z = matrix[..., 1, 0] - matrix[..., 0, 1]
    return torch.stack([w, x / (4 * w), y / (4 * w), z / (4 * w)], dim=-1)


def packed_covariances(matrices: Tensor, scales: Tensor) -> Tensor:
    """M S S^T M^T of matrices [N, 3, 3] and scales [N, 3] (Eq. 6 of Kerbl et al. 2023): [N, 6] as xx xy xz yy
    yz zz."""
    rows = (matrices * scales[:, None, :]).unbind(1)  # each [N, 3]
    return torch.stack([(rows[i] * rows[j]).sum(dim=1) for i in range(3) for j in range(i, 3)], dim=1)


def principal_axes(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Scales [N, 3] and unit quaternions [N, 4] whose ellipsoids have covariances [N, 6], xx xy xz yy yz zz.

    In float64 within: ellipsoids may be needles.
    """
    rows = torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]], device=covariances.device)
    squares, axes = torch.linalg.eigh(covariances.double()[:, rows])
    # Of the two signs of an axis the one that makes a rotation.
    axes = torch.cat([axes[..., :2], axes[..., 2:] * torch.linalg.det(axes)[:, None, None]], dim=2)
    return squares.clamp_min(0).sqrt().float(), any_matrix_to_quaternion(axes).float()


def any_matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """`matrix_to_quaternion` for rotations by any angle, of either sign: from the largest of the four."""
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    # Each row is 4 times one number of the quaternion, times the quaternion.
    rows = [
        [1 + m[0][0] + m[1][1] + m[2][2], m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]],
        [m[2][1] - m[1][2], 1 + m[0][0] - m[1][1] - m[2][2], m[1][0] + m[0][1], m[0][2] + m[2][0]],
        [m[0][2] - m[2][0], m[1][0] + m[0][1], 1 - m[0][0] + m[1][1] - m[2][2], m[2][1] + m[1][2]],
        [m[1][0] - m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2], 1 - m[0][0] - m[1][1] + m[2][2]],
    ]
    table = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)  # [..., 4, 4]
    largest = table.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)[..., None, None]
    row = table.gather(-2, largest.expand(*largest.shape[:-1], 4))[..., 0, :]
    return F.normalize(row, dim=-1)


def rigid_motion(vector: Tensor) -> Tensor:
    """A small motion [4, 4] from a rotation vector and a translation [6]; the rotation by its exponential."""
    x, y, z, *translation = vector.unbind()
    zero = torch.zeros_like(x)
    generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    last_row = vector.new_zeros(1, 4)
    last_row[0, 3] = 1
    upper = torch.cat([torch.linalg.matrix_exp(generator), torch.stack(translation)[:, None]], dim=1)
    return torch.cat([upper, last_row])


def sample_unit_quaternions(num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw unit quaternions [num_samples, 4] uniformly on S^3, on the generator's device (CPU without one).

    An isotropic Gaussian has no preferred direction, so its normalised samples are uniform (Muller 1959).
    """
    device = generator.device if generator is not None else "cpu"
    samples = torch.randn(num_samples, 4, generator=generator, device=device, dtype=torch.float64)
    return F.normalize(samples, dim=-1).float()


def _check_quaternions(quaternions: Tensor, name: str) -> None:
    if quaternions.shape[-1:] != (4,):
        raise ValueError(f"{name}: expected shape [..., 4], got {list(quaternions.shape)}")
