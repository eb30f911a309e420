"""Reads the checkpoint folder that the published GaussianHead code writes; see scene/published_head.py.

    point_cloud/iteration_I/point_cloud.ply   means, log-scales, quaternions; the rest of it nobody reads
    deform/iteration_I/deform.pth             the deformation network
    tilted/iteration_I/tilted.pth             tau
    trip/iteration_I/trip.pth                 planes and decoders

Nothing in these files is run: `torch.load` with `weights_only`, and `cfg_args` as a literal.
"""

import ast
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from scene.published_head import DEPTH, NUM_DERIVATIONS, PublishedHead, zooms_of
from utils.errors import UserError
from utils.json_files import read_bounded
from utils.ply import load_ply

# The published code deforms from this iteration on.
WARM_UP = 3_000
# The channels that are read, of 32.
READ_CHANNELS = slice(24, 32)
# Bytes; at 88,000 Gaussians the largest has 22 MB.
LARGEST_FILE = 4 << 30
_BROKEN = (KeyError, EOFError, AttributeError, IndexError, TypeError)
_ITERATION = re.compile(r"iteration_(\d+)")


class CheckpointArguments(NamedTuple):
    """What its cfg_args says of the data; None where it does not."""

    source_path: Path | None = None
    resolution: int = -1
    white_background: bool = True
    eval: bool = True


def iterations_in(folder: Path) -> list[int]:
    """The iterations that were saved whole, in rising order: a run may have ended while it saved. Raises
    UserError where there is none."""
    found = {
        int(match[1]) for path in folder.glob("*/iteration_*") if (match := _ITERATION.fullmatch(path.name))
    }
    whole = sorted(i for i in found if all(path.is_file() for path in _files(folder, i).values()))
    if not whole:
        lacking = (
            [str(path.relative_to(folder)) for path in _files(folder, max(found)).values()] if found else []
        )
        lacking = [name for name in lacking if not (folder / name).is_file()]
        what = f"lacks {', '.join(lacking)}" if lacking else "no point_cloud/iteration_N"
        raise UserError(f"{folder}: {what}; expected the folder of a run of the published code")
    return whole


def read_head(folder: Path, iteration: int) -> PublishedHead:
    """The head of one iteration, deforming if its deformation network had been trained by then.

    Raises UserError where a file is missing, damaged or does not fit the others.
    """
    files = _files(folder, iteration)
    ply = files.pop("point_cloud")
    if not ply.is_file():
        raise UserError(f"{ply}: no such file")
    cloud = load_ply(ply)
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


def read_poses(folder: Path) -> dict[int, Tensor]:
    """Camera-to-world [4, 4], OpenCV axes, of every frame that cameras.json has; empty without that file.

    Raises UserError where it is something else.
    """
    path = folder / "cameras.json"
    if not path.is_file():
        return {}
    try:
        poses = {}
        for entry in json.loads(read_bounded(path).decode("utf-8")):
            pose = torch.eye(4)
            pose[:3, :3], pose[:3, 3] = torch.tensor(entry["rotation"]), torch.tensor(entry["position"])
            if not pose.isfinite().all():
                raise ValueError(f"frame {entry['img_name']}: not finite")
            poses[int(entry["img_name"])] = pose
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        raise UserError(f"{path}: no list of cameras of the published code ({error})") from error
    return poses


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth. Raises UserError."""
    try:
        _check_size(path)
        with warnings.catch_warnings():
            # Of a file that is refused anyway.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, ValueError, *_BROKEN) as error:
        why = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{path}: damaged, or holds more than tensors; nothing of it was run ({why})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: expected a dictionary of tensors")
    for name, value in state.items():
        if not value.is_floating_point():
            raise UserError(f"{path}: {name}: expected floating-point numbers, found {value.dtype}")
    return state


def _files(folder: Path, iteration: int) -> dict[str, Path]:
    """By what they hold."""
    names = ("point_cloud.ply", "deform.pth", "tilted.pth", "trip.pth")
    return {
        name.partition(".")[0]: folder / name.partition(".")[0] / f"iteration_{iteration}" / name
        for name in names
    }


def _check_size(path: Path) -> None:
    """Refuse a file that is too large, or becomes so when it is unpacked: torch packs nothing."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserError(f"{path}: larger than {LARGEST_FILE >> 30} GB")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise UserError(f"{path}: unpacks to more than its size; no file of the published code")


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
