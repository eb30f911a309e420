"""Damaged and malicious files, read in a process whose memory and time are bounded.

python -m tests.reliability.fuzzing COUNT SEED FOLDER KIND... prints a JSON object for each kind: how many
inputs were accepted and refused (by a UserError, which scripts print as one line, with exit code 2), what
went wrong otherwise, the slowest one in seconds. KINDS names what is read.
"""

import copy
import json
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from arguments import load_config, parse_train_args, save_config
from rendering.driving.live_link import ARKIT_NAMES, HEAD_ANGLES
from rendering.driving.reading import read_driving
from scene.avatar import load_avatar, save_avatar
from scene.dataset_readers import read_clip
from scene.frame_decoding import load_frame
from scene.views import Drive
from tests.scene.heads import make_head
from tests.synthetic import write_clip
from tests.viewing.avatars import make_avatar
from training.state import TrainingState
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.ply import load_ply, save_ply

SECONDS, BYTES = 5, 2 << 30
EXTREMES = (0, -1, 1, 3, 255, 2**31 - 1, 2**31, 2**63, 10**12, 1e308, -1e308, float("nan"), float("inf"))
ODD = (*EXTREMES, None, True, "", "x", "../../etc/passwd", [], {}, [[]], [1, [2]], "\0", "9" * 50, [None] * 4)
Fuzzer = tuple[Callable[[], None], Callable[[random.Random], None]]


class TooSlow(Exception):
    """An input took more than SECONDS."""


def mutated(content: bytes, r: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat, or put numbers in the place of others; once or a few times."""
    data = bytearray(content)
    for _ in range(r.choice((1, 1, 1, 2, 5))):
        at, size = r.randrange(len(data) + 1), r.choice((1, 4, 8, 64))
        kind = r.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << r.randrange(8)
        elif kind == 1:
            data[at : at + size] = r.randbytes(size)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + size]
        elif kind == 4:
            data[at:at] = data[at : at + size] * r.choice((1, 50))
        elif kind == 5:
            data[at : at + size] = r.choice((b"\xff", b"\0", b"9", b"[", b"\n")) * size
        else:
            digits = [
                i for i in range(min(at, len(data)), min(at + 200, len(data))) if chr(data[i]).isdigit()
            ]
            if digits:
                data[digits[0] : digits[0] + 1] = str(r.choice(EXTREMES)).encode()
    return bytes(data)


def mutated_tree(tree, r: random.Random):
    """A JSON document in which one node is another."""
    tree = copy.deepcopy(tree)
    node, places = tree, []
    while isinstance(node, (dict, list)) and node:
        key = r.choice(list(node)) if isinstance(node, dict) else r.randrange(len(node))
        places.append((node, key))
        node = node[key]
    parent, key = r.choice(places)
    what = r.randrange(4)
    if what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif what == 2:
        value = parent[key]
        parent[key] = [value] * r.choice((1, 3, 1000))
    else:
        parent[key] = r.choice(ODD)
    return tree


def of_json(path: Path, read: Callable[[], None]) -> Fuzzer:
    content = path.read_bytes()
    tree = json.loads(content)

    def damage(r):
        path.write_bytes(
            mutated(content, r) if r.random() < 0.4 else json.dumps(mutated_tree(tree, r)).encode()
        )

    return read, damage


def of_bytes(path: Path, read: Callable[[], None]) -> Fuzzer:
    content = path.read_bytes()
    return read, lambda r: path.write_bytes(mutated(content, r))


def of_tensors(path: Path, read: Callable[[], None]) -> Fuzzer:
    """Bytes, or other tensors and metadata under a digest that is right, as a stranger may make them."""
    content, (tensors, metadata) = path.read_bytes(), load_checkpoint(path)

    def damage(r):
        if r.random() < 0.5:
            path.write_bytes(mutated(content, r))
            return
        changed, said = dict(tensors), metadata
        if r.random() < 0.5:
            said = mutated_tree(metadata, r)
        else:
            name = r.choice(sorted(changed))
            changed[name] = mutated_tensor(changed[name], r)
            if changed[name] is None:
                del changed[name]
        save_checkpoint(path, changed, said)

    return read, damage


def mutated_tensor(value: torch.Tensor, r: random.Random) -> torch.Tensor | None:
    kind, value = r.randrange(7), value.clone()
    if kind == 0:
        return None
    if kind == 1:
        return value.flatten()
    if kind == 2:
        return value[: len(value) // 2] if value.dim() else value[None]
    if kind == 3:
        return torch.cat([value, value]) if value.dim() else value.repeat(3)
    if kind == 4:
        return value.to(r.choice((torch.uint8, torch.int64, torch.float64, torch.bool)))
    if value.numel():
        extreme = r.choice(EXTREMES)
        if not value.is_floating_point():
            extreme = r.choice((0, 1, 100, -1, 127)) if value.dtype != torch.bool else 1
        # As the type has it: infinite, or cut off.
        value.view(-1)[r.randrange(value.numel())] = torch.tensor(float(extreme), dtype=torch.float64)
    return value


def transforms(folder: Path) -> Fuzzer:
    clip = write_clip(folder / "clip", num_frames=4)
    return of_json(clip / "transforms.json", lambda: read_clip(clip))


def ply(folder: Path) -> Fuzzer:
    path, n = folder / "splats.ply", 20
    sizes = ((n, 3), (n, 3), (n, 3, 3), (n,), (n, 3), (n, 4))
    save_ply(path, *(torch.rand(size) for size in sizes))
    return of_bytes(path, lambda: load_ply(path))


def model(folder: Path) -> Fuzzer:
    path = folder / "model.safetensors"
    save_avatar(make_avatar(), path)

    def read():
        avatar = load_avatar(path)
        avatar.head(avatar.camera, Drive(avatar.neutral_expression))

    return of_tensors(path, read)


def checkpoint(folder: Path) -> Fuzzer:
    (folder / "clip").mkdir()
    config = parse_train_args(["-s", str(folder / "clip"), "-m", str(folder / "run"), "--device", "cpu"])
    path = folder / "checkpoint.safetensors"
    TrainingState.around(make_head(20), config, 9, torch.Generator()).save(path)
    return of_tensors(path, lambda: TrainingState.load(path, config, 9, torch.device("cpu")))


def config(folder: Path) -> Fuzzer:
    (folder / "clip").mkdir()
    path = folder / "config.json"
    save_config(parse_train_args(["-s", str(folder / "clip"), "-m", str(folder / "run")]), path)
    return of_json(path, lambda: load_config(path))


def _frame(folder: Path, name: str, suffix: str) -> Fuzzer:
    root = write_clip(folder / "clip", num_frames=4, suffix=suffix)

    def read():
        clip = read_clip(root)
        load_frame(clip.frames[0], np.zeros(3), (16, 12), False)

    return of_bytes(root / name, read)


def mask(folder: Path) -> Fuzzer:
    return _frame(folder, "mask/1.png", ".png")


def picture(folder: Path) -> Fuzzer:
    return _frame(folder, "ori_imgs/0.jpg", ".jpg")


def png_picture(folder: Path) -> Fuzzer:
    return _frame(folder, "ori_imgs/0.png", ".png")


def live_link(folder: Path) -> Fuzzer:
    path, r = folder / "take.csv", random.Random(0)
    names = [
        "Timecode",
        "BlendShapeCount",
        *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
        *HEAD_ANGLES,
    ]
    rows = [[f"10:00:00:{i:02d}.000", "61", *(f"{r.random():.4f}" for _ in names[2:])] for i in range(20)]
    path.write_text("\n".join(",".join(row) for row in (names, *rows)) + "\n")
    return of_bytes(path, lambda: read_driving(path, 30.0))


KINDS = {
    f.__name__: f for f in (transforms, ply, model, checkpoint, config, mask, picture, png_picture, live_link)
}


def main(count: str, seed: str, folder: str, *kinds: str) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_slow)
    for kind in kinds:
        print(json.dumps(outcome_of(kind, range(int(seed), int(seed) + int(count)), Path(folder))))


def outcome_of(kind: str, seeds: range, folder: Path) -> dict:
    read, damage = KINDS[kind](folder)
    read()
    _bound_memory()
    outcome = {"kind": kind, "accepted": 0, "refused": 0, "bad": [], "slowest": 0.0}
    for i in seeds:
        damage(random.Random(i))
        begun = time.monotonic()
        signal.alarm(SECONDS)
        try:
            read()
            outcome["accepted"] += 1
        except UserError:
            outcome["refused"] += 1
        except BaseException as error:
            outcome["bad"].append(f"seed {i}: {type(error).__name__}: {error}"[:300])
        signal.alarm(0)
        outcome["slowest"] = max(outcome["slowest"], round(time.monotonic() - begun, 2))
    return outcome


def _bound_memory() -> None:
    """What is there already, and BYTES."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    # The hard limit stays: the next kind may have another.
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _too_slow(number, frame):
    raise TooSlow


if __name__ == "__main__":
    main(*sys.argv[1:])
