"""Writes small checkpoint folders as the published code does, and computes heads Gaussian by Gaussian."""

from pathlib import Path

import numpy as np
import torch

from utils.ply import save_ply

CHANNELS, RESOLUTION = 32, 64


def write_checkpoint(
    folder: Path, num: int = 40, size: int = 3, iteration: int = 4_000, seed: int = 0
) -> dict:
    """A checkpoint with random numbers; returns its four state dictionaries and rows."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape, scale=1.0):
        return scale * torch.randn(*shape, generator=generator)

    signal = 63 + size
    inputs = [signal, 256, 256, 256, 256, signal + 256, 256, 256]
    deform = {}
    for i, columns in enumerate(inputs):
        deform[f"linear.{i}.weight"] = random(256, columns, scale=columns**-0.5)
        deform[f"linear.{i}.bias"] = random(256, scale=0.1)
    for name, rows in (("warp", 3), ("rotation", 4), ("scaling", 3)):
        deform[f"gaussian_{name}.weight"] = random(rows, 256, scale=0.01)
        deform[f"gaussian_{name}.bias"] = random(rows, scale=0.01)
    trip = {f"tri_plane.0.{i}": random(1, CHANNELS, RESOLUTION, RESOLUTION) for i in range(3)}
    for i, shape in enumerate(((64, 32), (64, 64), (33, 64))):
        trip[f"opacity_net.net.{i}.weight"] = random(*shape, scale=0.3)
    for i, shape in enumerate(((64, 35), (48, 64))):
        trip[f"shs_net.net.{i}.weight"] = random(*shape, scale=0.2)
    for name, rows in (("dc", 3), ("rest", 45)):
        trip[f"shs_{name}_net.weight"] = random(rows, 48, scale=0.2)
        trip[f"shs_{name}_net.bias"] = random(rows, scale=0.2)
    tau = random(num, 4, 4)
    rows = dict(
        xyz=random(num, 3, scale=0.2), log_scale=random(num, 3, scale=0.3) - 3, rotation=random(num, 4)
    )
    for name, state in (("deform", deform), ("tilted", {"tau": tau}), ("trip", trip)):
        path = folder / name / f"iteration_{iteration}" / f"{name}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
    save_ply(
        folder / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply",
        means=rows["xyz"],
        sh_dc=torch.zeros(num, 3),
        sh_rest=torch.zeros(num, 15, 3),
        opacity_logits=torch.zeros(num),
        log_scales=rows["log_scale"],
        rotations=rows["rotation"],
    )
    return {"deform": deform, "trip": trip, "tau": tau, **rows}


def slow_gaussian(
    state: dict, n: int, expression: torch.Tensor, center: torch.Tensor
) -> dict[str, np.ndarray]:
    """Means, covariance, opacity and SH of Gaussian n in float64, loop by loop from the specification."""
    deform, trip = ({k: v.double().numpy() for k, v in state[part].items()} for part in ("deform", "trip"))
    x = state["xyz"][n].double().numpy()
    code = [*x]
    for octave in range(10):
        code += [*np.sin(2.0**octave * x), *np.cos(2.0**octave * x)]
    u = np.array([*code, *expression.double().numpy()])
    hidden = u
    for i in range(8):
        hidden = np.concatenate([u, hidden]) if i == 5 else hidden
        hidden = np.maximum(deform[f"linear.{i}.weight"] @ hidden + deform[f"linear.{i}.bias"], 0)
    shift, turn, growth = (
        deform[f"gaussian_{name}.weight"] @ hidden + deform[f"gaussian_{name}.bias"]
        for name in ("warp", "rotation", "scaling")
    )
    mean = x + shift
    scale = np.exp(state["log_scale"][n].double().numpy()) + growth
    q = state["rotation"][n].double().numpy()
    w, i, j, k = q / np.linalg.norm(q) + turn
    matrix = np.array(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - w * k), 2 * (i * k + w * j)],
            [2 * (i * j + w * k), 1 - 2 * (i * i + k * k), 2 * (j * k - w * i)],
            [2 * (i * k - w * j), 2 * (j * k + w * i), 1 - 2 * (i * i + j * j)],
        ]
    )
    covariance = matrix @ np.diag(scale**2) @ matrix.T
    planes = [trip[f"tri_plane.0.{axis}"][0, 24:] for axis in range(3)]
    features = []
    for derivation in range(4):
        place = slow_zoom(state["tau"][:, derivation].double().numpy(), n) * mean
        product = np.ones(8)
        for plane, (a, b) in zip(planes, ((0, 1), (0, 2), (1, 2))):
            product = product * bilinear(plane, place[a], place[b])
        features += [*product]
    hidden = np.array(features)
    for layer in range(2):
        hidden = 1 / (1 + np.exp(-trip[f"opacity_net.net.{layer}.weight"] @ hidden))
    out = trip["opacity_net.net.2.weight"] @ hidden
    direction = x - center.double().numpy()
    z = np.concatenate([out[1:], direction / np.linalg.norm(direction)])
    z = trip["shs_net.net.1.weight"] @ (trip["shs_net.net.0.weight"] @ z)
    dc = trip["shs_dc_net.weight"] @ z + trip["shs_dc_net.bias"]
    rest = trip["shs_rest_net.weight"] @ z + trip["shs_rest_net.bias"]
    return dict(
        means=mean,
        cov3d=covariance[np.triu_indices(3)],
        opacities=1 / (1 + np.exp(-out[0])),
        sh=np.concatenate([dc, rest]).reshape(16, 3),
    )


def slow_zoom(tau: np.ndarray, n: int) -> np.ndarray:
    """The factors of Gaussian n, by the flat place of every entry; tau [N, 4]."""
    num = len(tau)

    def entry(j: int, m: int) -> float:
        w, x, y, z = tau[m]
        t = np.linalg.norm(tau[m])
        matrix = np.array(
            [
                [1 - 2 * (y * y + z * z) / t, 2 * (x * y - z * w) / t, 2 * (x * z + y * w) / t],
                [2 * (x * y + z * w) / t, 1 - 2 * (x * x + z * z) / t, 2 * (y * z - x * w) / t],
                [2 * (x * z - y * w) / t, 2 * (y * z + x * w) / t, 1 - 2 * (x * x + y * y) / t],
            ]
        )
        return matrix.flatten()[j]

    piece = np.array([entry((9 * n + c) // num, (9 * n + c) % num) for c in range(9)]).reshape(3, 3)
    return piece.sum(axis=0)


def bilinear(plane: np.ndarray, horizontal: float, vertical: float) -> np.ndarray:
    """A plane [C, R, R] over [-1, 1], corners at the first and last texel; the border value outside."""
    column, row = (np.clip((g + 1) / 2 * (RESOLUTION - 1), 0, RESOLUTION - 1) for g in (horizontal, vertical))
    c0, r0 = (min(int(np.floor(value)), RESOLUTION - 2) for value in (column, row))
    c, r = column - c0, row - r0
    top = (1 - c) * plane[:, r0, c0] + c * plane[:, r0, c0 + 1]
    bottom = (1 - c) * plane[:, r0 + 1, c0] + c * plane[:, r0 + 1, c0 + 1]
    return (1 - r) * top + r * bottom
