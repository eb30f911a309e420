"""`distCUDA2`, under the module name of the family's compiled extension."""

import torch
from scipy.spatial import cKDTree
from torch import Tensor


def distCUDA2(points: Tensor) -> Tensor:
    """Return the mean squared distance [N] of each point [N, 3] to its three nearest other points.

    Duplicates count as neighbours at distance 0. With fewer than four points, the mean is over those there
    are. Runs on the CPU whatever the device; the result has the device and dtype of `points`. Raises
    ValueError for another shape or for values that are not finite.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points: expected shape [N, 3], got {list(points.shape)}")
    if not points.isfinite().all():
        raise ValueError("points: has NaN or infinite entries")
    num_neighbours = min(3, points.shape[0] - 1)
    if num_neighbours < 1:
        return points.new_zeros(points.shape[0])
    coordinates = points.detach().to("cpu", torch.float64).numpy()
    # k counts the point itself, at distance 0: whichever of several duplicates takes that place, the rest is
    # the same.
    distances, _ = cKDTree(coordinates).query(coordinates, k=num_neighbours + 1, workers=-1)  # [N, k]
    return torch.from_numpy((distances[:, 1:] ** 2).mean(1)).to(points)
