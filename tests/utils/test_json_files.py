import json
import math
import os

import pytest

from utils.errors import UserError
from utils.json_files import finite, read_json, update_json, write_json


def test_an_update_sets_its_keys_and_keeps_the_others(tmp_path):
    path = tmp_path / "scores.json"
    update_json(path, {"a": 1, "b": [2]})
    update_json(path, {"b": 3})
    assert read_json(path) == {"a": 1, "b": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_a_file_that_cannot_be_replaced_is_named_and_stays(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"a": 1})
    (tmp_path / f".scores.{os.getpid()}.part.json").mkdir()
    with pytest.raises(UserError, match=r"scores\.json: cannot be written"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize("text", ["{", "[1]", None])
def test_what_is_no_json_object_is_named_and_not_overwritten(tmp_path, text):
    path = tmp_path / "scores.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"scores\.json: "):
        read_json(path)
    if text is not None:
        with pytest.raises(UserError, match=r"scores\.json: "):
            update_json(path, {"a": 1})
        assert path.read_text() == text


def test_numbers_that_json_lacks_become_null():
    numbers = finite({"a": math.nan, "b": -math.inf, "c": 1.5, "d": 2, "e": "inf"})
    assert json.loads(json.dumps(numbers)) == {"a": None, "b": None, "c": 1.5, "d": 2, "e": "inf"}
