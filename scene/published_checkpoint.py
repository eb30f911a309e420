"""Reads the checkpoint folder that the published GaussianHead code writes; see scene/published_head.py.

    point_cloud/iteration_I/point_cloud.ply   means, log-scales, quaternions; the rest of it nobody reads
    deform/iteration_I/deform.pth             the deformation network
    tilted/iteration_I/tilted.pth             tau
    trip/iteration_I/trip.pth                 planes and decoders

Nothing in these files is run: `torch.load` with `weights_only`, and `cfg_args` as a literal.
"""

import ast
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from scene.published_head import DEPTH, NUM_DERIVATIONS, PublishedHead, zooms_of
from utils.errors import UserError
from utils.ply import load_ply

# The published code deforms from this iteration on.
WARM_UP = 3_000
# The channels that are read, of 32.
READ_CHANNELS = slice(24, 32)
# Bytes; at 88,000 Gaussians the largest has 22 MB.
LARGEST_FILE = 4 << 30
_ITERATION = re.compile(r"iteration_(\d+)")


class CheckpointArguments(NamedTuple):
    """What its cfg_args says of the data; None where it does not."""

    source_path: Path | None = None
    resolution: int = -1
    white_background: bool = True
    eval: bool = True


def iterations_in(folder: Path) -> list[int]:
    """The saved iterations, in rising order. Raises UserError where there is none."""
    found = [_ITERATION.fullmatch(path.name) for path in (folder / "point_cloud").glob("iteration_*")]
    iterations = sorted(int(match[1]) for match in found if match)
    if not iterations:
        raise UserError(
            f"{folder}: no point_cloud/iteration_N; expected the folder of a run of the published code"
        )
    return iterations


def read_head(folder: Path, iteration: int) -> PublishedHead:
    """The head of one iteration, deforming if its deformation network had been trained by then.

    Raises UserError where a file is missing, damaged or does not fit the others.
    """
    ply = folder / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"
    if not ply.is_file():
        raise UserError(f"{ply}: no such file")
    cloud = load_ply(ply)
    files = {
        name: folder / name / f"iteration_{iteration}" / f"{name}.pth"
        for name in ("deform", "tilted", "trip")
    }
    state = {name: _state_dict(path) for name, path in files.items()}
    taus = list(state["tilted"].values())
    expected = (len(cloud.means), NUM_DERIVATIONS, 4)
    if len(taus) != 1 or tuple(taus[0].shape) != expected:
        found = " and ".join(str(list(tau.shape)) for tau in taus) or "nothing"
        raise UserError(
            f"{files['tilted']}: found {found}, expected one tensor {list(expected)} for {ply.name}"
        )
    try:
        tensors = {
            "xyz": cloud.means,
            "log_scale": cloud.log_scales,
            "rotation": cloud.rotations,
            "zooms": zooms_of(taus[0]),
            **_field(state["deform"]),
            **_planes_and_decoders(state["trip"]),
        }
        head = PublishedHead(tensors, deforms=iteration > WARM_UP)
    except (KeyError, ValueError, RuntimeError, IndexError) as error:
        raise UserError(
            f"{folder}: not a checkpoint of the published code, or of another version ({error})"
        ) from error
    for name, tensor in head.tensors().items():
        if not tensor.isfinite().all():
            raise UserError(f"{folder}: iteration {iteration}: {name}: not finite")
    return head


def read_arguments(folder: Path) -> CheckpointArguments:
    """What cfg_args says, as far as it can be read."""
    try:
        tree = ast.parse((folder / "cfg_args").read_text(encoding="utf-8").strip(), mode="eval").body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return CheckpointArguments()
    if not isinstance(tree, ast.Call):
        return CheckpointArguments()
    values = {word.arg: word.value.value for word in tree.keywords if isinstance(word.value, ast.Constant)}
    kinds = {"source_path": str, "resolution": int, "white_background": bool, "eval": bool}
    kept = {name: values[name] for name, kind in kinds.items() if type(values.get(name)) is kind}
    if "source_path" in kept:
        kept["source_path"] = Path(kept["source_path"])
    return CheckpointArguments(**kept)


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth. Raises UserError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path}: larger than {LARGEST_FILE >> 30} GB")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, AttributeError) as error:
        why = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{path}: damaged, or holds more than tensors; nothing of it was run ({why})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: expected a dictionary of tensors")
    return state


def _field(state: dict[str, Tensor]) -> dict[str, Tensor]:
    heads = ("gaussian_warp", "gaussian_rotation", "gaussian_scaling")
    return {
        **{
            f"field.{i}.{kind}": state[f"linear.{i}.{kind}"]
            for i in range(DEPTH)
            for kind in ("weight", "bias")
        },
        **{
            f"offsets.{kind}": torch.cat([state[f"{name}.{kind}"] for name in heads])
            for kind in ("weight", "bias")
        },
    }


def _planes_and_decoders(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The colour decoder has no activation: its four matrices are one."""
    first, second = (state[f"shs_net.net.{i}.weight"].double() for i in range(2))
    last = torch.cat([state["shs_dc_net.weight"], state["shs_rest_net.weight"]]).double()
    return {
        "planes": torch.cat([state[f"tri_plane.0.{i}"] for i in range(3)])[:, READ_CHANNELS],
        **{f"decoder.{i}": state[f"opacity_net.net.{i}.weight"] for i in range(3)},
        "sh.weight": (last @ second @ first).float(),
        "sh.bias": torch.cat([state["shs_dc_net.bias"], state["shs_rest_net.bias"]]),
    }
