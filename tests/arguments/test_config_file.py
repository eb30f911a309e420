import json
from dataclasses import fields
from pathlib import Path

import pytest

from arguments import TrainConfig, load_config, parse_train_args, save_config
from arguments.params import TRAIN_GROUPS
from utils.errors import UserError


@pytest.fixture
def config(tmp_path):
    flags = [
        "--preset",
        "quick",
        "--iterations",
        "700",
        "--test_iterations",
        "5",
        "9",
        "-w",
        "--cache_gb",
        "2",
        "--test_frames",
        "3",
    ]
    return parse_train_args(["-s", str(tmp_path), "-m", str(tmp_path / "out"), *flags])


@pytest.fixture
def path(config, tmp_path):
    save_config(config, tmp_path / "out" / "config.json", {"torch": "2.13.0"})
    return tmp_path / "out" / "config.json"


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_round_trip_keeps_every_value_type_and_what_was_given(config, path):
    loaded = load_config(path)
    assert loaded == config
    assert loaded.given == config.given
    assert isinstance(loaded.model.source_path, Path)
    assert isinstance(loaded.run.test_iterations, tuple)


def test_defaults_survive_a_round_trip(tmp_path):
    save_config(TrainConfig(), tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == TrainConfig()


def test_the_file_is_plain_json_with_every_option_and_the_versions(path):
    document = json.loads(path.read_text())
    assert document["versions"] == {"torch": "2.13.0"}
    for name, group in TRAIN_GROUPS.items():
        assert set(document[name]) == {option.name for option in fields(group)}
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]  # no partial file is left


def test_unknown_and_missing_options_are_tolerated_with_a_note(config, path):
    def change(document):
        document["model"]["from_the_future"] = 1
        del document["network"]["decoder_width"]
        document["given"].append("from_the_future")

    edit(path, change)
    loaded = load_config(path)
    assert loaded == config
    notes = "\n".join(loaded.notes)
    assert "model.from_the_future is unknown to this version, left out" in notes
    assert "network.decoder_width is missing, taken as 64" in notes


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("network", "num_derivations", "4", 'network.num_derivations: expected an integer, found "4"'),
        ("network", "num_derivations", 4.0, "network.num_derivations: expected an integer, found 4.0"),
        ("network", "num_derivations", True, "network.num_derivations: expected an integer, found true"),
        ("network", "num_derivations", 0, "network.num_derivations 0: must be at least 1"),
        ("model", "eval", "False", 'model.eval: expected true or false, found "False"'),
        ("model", "source_path", 3, "model.source_path: expected a path, found 3"),
        ("run", "test_iterations", 5, "run.test_iterations: expected a list, found 5"),
        ("run", "test_iterations", ["5"], 'run.test_iterations: expected an integer, found "5"'),
        ("optimization", "lambda_dssim", None, "optimization.lambda_dssim: expected a number, found null"),
        (
            "optimization",
            "lambda_dssim",
            float("nan"),
            "optimization.lambda_dssim nan: expected a finite number",
        ),
    ],
)
def test_values_of_the_wrong_type_or_range_are_refused(path, group, name, value, message):
    edit(path, lambda document: document[group].update({name: value}))
    with pytest.raises(UserError) as refusal:
        load_config(path)
    assert f"{path}: {message}" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "format": ', "line 2 column 12: not valid JSON"),
        ("__import__('os').system('true')", "line 1 column 1: not valid JSON"),
        ("[]", "format: expected"),
        ('{"format": "gaussianhead config 9"}', "format: expected"),
        ('{"format": "gaussianhead config 1", "model": 3}', "model: expected an object, found 3"),
        (
            '{"format": "gaussianhead config 1", "given": 3}',
            "given: expected a list of option names, found 3",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError) as refusal:
        load_config(path)
    assert f"{path}: {message}" in str(refusal.value)


def test_integers_are_numbers_too(path):
    edit(path, lambda document: document["optimization"].update(lambda_dssim=1))
    assert load_config(path).optimization.lambda_dssim == 1.0


def test_an_option_is_found_in_whatever_group_an_older_version_kept_it(path):
    edit(path, lambda d: d["network"].update(initial_gaussians=d["start"].pop("initial_gaussians")))
    assert load_config(path).start.initial_gaussians == 5_000
    assert load_config(path).notes == ()


def test_a_retired_option_is_a_note_only_where_it_did_something(path):
    edit(path, lambda d: d["network"].update(start_in_hull=False))
    edit(path, lambda d: d["optimization"].update(pose_refinement_lr=1e-4))
    (note,) = load_config(path).notes
    assert "optimization.pose_refinement_lr was an experiment and is gone" in note
