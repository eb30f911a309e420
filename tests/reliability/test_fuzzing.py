"""Damaged files of every kind: each is accepted or refused in one line; nothing hangs, nothing fills memory.

A hundred in `make test`; `make reliability` reads 10,000 and prints the counts.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.reliability.fuzzing import KINDS, SECONDS

ROOT = Path(__file__).resolve().parents[2]
FEW, MANY = 12, 1_112
# Long parts read other inputs than short ones.
SEED_OF_MANY = 1_000


def outcomes_of(kinds: Sequence[str], count: int, seed: int, folder: Path) -> list[dict]:
    folders = [str(ROOT), *map(str, (ROOT / "submodules").iterdir())]
    command = [sys.executable, "-m", "tests.reliability.fuzzing", str(count), str(seed), str(folder)]
    command += kinds
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{kinds}: ended by {done.returncode}: {done.stderr[-1000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()[-len(kinds) :]]


def check(kinds: Sequence[str], count: int, seed: int, folder: Path) -> list[dict]:
    outcomes = outcomes_of(kinds, count, seed, folder)
    assert [outcome["kind"] for outcome in outcomes] == list(kinds)
    for outcome in outcomes:
        assert outcome["bad"] == []
        assert outcome["accepted"] + outcome["refused"] == count
        assert outcome["slowest"] < SECONDS
        # A reader that refuses nothing is no reader.
        assert outcome["refused"] > 0
    return outcomes


def test_a_few_damaged_files_are_accepted_or_refused(tmp_path):
    check(["model", "transforms"], FEW, 0, tmp_path)


@pytest.mark.reliability
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_accepted_or_refused(kind, tmp_path):
    print(f"\n{check([kind], MANY, SEED_OF_MANY, tmp_path)}")


@pytest.mark.reliability
def test_of_models_with_a_flipped_bit_none_is_accepted(tmp_path):
    """300 of them; before there was a digest, 139 were."""
    import random

    from scene.avatar import load_avatar, save_avatar
    from tests.viewing.avatars import make_avatar
    from utils.errors import UserError

    path, numbers = tmp_path / "model.safetensors", random.Random(0)
    save_avatar(make_avatar(), path)
    good, refused = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(good)
        data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        path.write_bytes(data)
        try:
            load_avatar(path)
        except UserError:
            refused += 1
    print(f"\n{refused} of 300 models with a flipped bit refused")
    assert refused == 300
