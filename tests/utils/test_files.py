"""Files appear whole or not at all, whatever their names are made of."""

import os

import pytest

from utils.errors import UserError
from utils.files import remove_leftovers, replacing, why_not_writable, write_text


def test_a_file_appears_when_the_block_ends_and_nothing_else_stays(tmp_path):
    path = tmp_path / "deep" / "model.bin"
    with replacing(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists() and partial.parent == path.parent and partial.suffix == ".bin"
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(path.parent) == ["model.bin"]


@pytest.mark.parametrize("error, raised", [(OSError(28, "No space left"), UserError), (KeyError(), KeyError)])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error, raised):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(raised), replacing(path) as partial:
        partial.write_text("new")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_text_keeps_the_bytes_of_names_in_other_encodings(tmp_path):
    # GBK.
    name = os.fsdecode(b"\xb2\xe2\xca\xd4")
    write_text(tmp_path / "log", f"{name} ü\n")
    assert (tmp_path / "log").read_bytes() == b"\xb2\xe2\xca\xd4 \xc3\xbc\n"


def test_only_what_a_killed_process_left_is_removed(tmp_path):
    names = [
        ".iteration_3.77.part.safetensors",
        ".log.1.part",
        ".hidden",
        "a.part.json",
        "iteration_3.safetensors",
    ]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert sorted(os.listdir(tmp_path)) == sorted(names[2:])


def test_why_a_folder_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path) is why_not_writable(tmp_path / "new" / "deeper") is None
    assert why_not_writable(tmp_path / "file" / "sub") == f"{tmp_path / 'file'} is a file; expected a folder"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert why_not_writable(tmp_path / "new") == f"no right to write into {tmp_path}"
