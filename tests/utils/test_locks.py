"""A folder that one process holds."""

import os
import subprocess
import sys

import pytest

from utils.errors import UserError
from utils.locks import FolderLock

HOLD = "import sys, time; from pathlib import Path; from utils.locks import FolderLock; "
HOLD += "lock = FolderLock(); lock.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_second_lock_is_refused_by_the_number_of_the_first_until_that_is_released(tmp_path):
    first, second = FolderLock(), FolderLock()
    first.take(tmp_path)
    first.take(tmp_path)
    with pytest.raises(UserError, match=rf"process {os.getpid()} trains there"):
        second.take(tmp_path)
    first.release()
    second.take(tmp_path)
    second.release()


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {holder.pid}"):
            FolderLock().take(tmp_path)
        holder.kill()
    lock = FolderLock()
    lock.take(tmp_path)
    lock.release()
