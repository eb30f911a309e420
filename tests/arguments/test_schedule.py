from dataclasses import fields

import pytest

from arguments import OptimizationParams, TrainConfig, parse_train_args, rescale_schedule
from arguments.schedule import RESCALED_OPTIONS, option_values, replace_options


@pytest.fixture
def train(tmp_path):
    return lambda *flags: parse_train_args(
        ["-s", str(tmp_path), "-m", str(tmp_path / "out"), "--preset", "paper", *map(str, flags)]
    )


def test_every_milestone_follows_the_length_of_the_schedule(train):
    config = train("--iterations", 8_000)
    before = option_values(TrainConfig())
    after = option_values(config)
    for name in RESCALED_OPTIONS:
        if name.endswith("_iterations"):
            assert after[name] == tuple(v // 10 for v in before[name])
        else:
            assert after[name] == before[name] // 10
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {*RESCALED_OPTIONS, "iterations", "source_path", "model_path", "preset"}


def test_windows_and_rates_do_not_rescale():
    names = {option.name for option in fields(OptimizationParams)}
    milestones = {n for n in names if n.endswith("_max_steps")} | {
        *(
            "warm_up",
            "sh_increase_interval",
            "densify_from_iter",
            "densify_until_iter",
            "opacity_reset_interval",
        )
    }
    assert set(RESCALED_OPTIONS) == milestones | {"test_iterations", "save_iterations"}
    assert "densification_interval" not in RESCALED_OPTIONS


def test_milestones_that_were_given_stay(train):
    config = train("--iterations", 8_000, "--warm_up", 1_234, "--test_iterations", 5_000)
    assert config.optimization.warm_up == 1_234
    assert config.run.test_iterations == (5_000,)
    assert config.optimization.densify_until_iter == 1_500


def test_a_value_given_as_its_default_stays_too(train):
    assert train("--iterations", 8_000, "--warm_up", 3_000).optimization.warm_up == 3_000


def test_the_log_names_what_changed_and_only_that(train):
    (note,) = train("--iterations", 8_000, "--warm_up", 3_000).notes
    assert "preset paper, 80000 iterations, rescaled to 8000" in note
    assert "densify_until_iter 15000 -> 1500" in note
    assert "save_iterations 30000,80000 -> 3000,8000" in note
    assert "warm_up" not in note
    assert train().notes == ()
    assert train("--iterations", 80_000).notes == ()


def test_rescaling_follows_the_preset_not_the_defaults(train):
    config = train("--preset", "quick", "--iterations", 4_000)
    assert config.optimization.warm_up == 2 * train("--preset", "quick").optimization.warm_up


def test_milestones_never_vanish_and_zero_stays_zero():
    config = replace_options(TrainConfig(), {"densify_from_iter": 0})
    config, _ = rescale_schedule(config, 3)
    assert config.optimization.densify_from_iter == 0
    assert config.optimization.warm_up == 1
    assert config.run.test_iterations == (1, 2, 3)


def test_a_planned_schedule_is_the_same_as_a_given_one(train):
    planned, changes = rescale_schedule(train("--warm_up", 50), 4_321)
    given = train("--warm_up", 50, "--iterations", 4_321)
    assert planned.optimization == given.optimization
    assert planned.run == given.run
    assert ", ".join(changes) in given.notes[0]
