"""train.py and render.py as a user runs them, on a tiny clip."""

import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
import torch

import metrics
import render
import train
from scene import Drive, load_avatar
from tests.synthetic import edited_json, write_clip
from training.session import Session
from utils.checkpoint import load_checkpoint
from utils.images import read_png

ITERATIONS = 24
# Small, and yet everything happens: warm-up, SH growth, densification and opacity reset before and after 12.
FLAGS = """
    --preset quick --device cpu -w --eval --test_frames 3 --quiet --initial_gaussians 60 --max_gaussians 90
    --deformation_width 8 --triplane_resolution 8 --triplane_channels 8 --decoder_width 8
    --geometry_features 4 --warm_up 4 --sh_increase_interval 8 --densification_interval 4
    --densify_from_iter 3 --densify_until_iter 20 --opacity_reset_interval 10 --densify_grad_threshold 1e-6
    --test_iterations 12
"""
TINY = FLAGS.split()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", num_frames=12)


def run(clip, model, *flags, iterations=ITERATIONS):
    train.main(["-s", str(clip), "-m", str(model), *TINY, "--iterations", str(iterations), *flags])


def model_tensors(model, iteration=ITERATIONS):
    return load_checkpoint(model / "model" / f"iteration_{iteration}.safetensors").tensors


def assert_same_model(first, second):
    a, b = model_tensors(first), model_tensors(second)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def trained(clip, tmp_path_factory):
    model = tmp_path_factory.mktemp("output") / "tiny"
    run(clip, model, "--checkpoint_iterations", "12")
    return model


def test_training_leaves_the_familys_folders(trained):
    expected = [
        "config.json",
        "train.log",
        "cameras.json",
        "input.ply",
        "results.json",
        "per_view.json",
        "eval/curves.png",
        "eval/test_12.png",
        f"eval/test_{ITERATIONS}.png",
        "checkpoints/iteration_12.safetensors",
        f"checkpoints/iteration_{ITERATIONS}.safetensors",
        f"model/iteration_{ITERATIONS}.safetensors",
        f"point_cloud/iteration_{ITERATIONS}/point_cloud.ply",
    ]
    assert [name for name in expected if not (trained / name).is_file()] == []
    results = json.loads((trained / "results.json").read_text())
    assert results.keys() == {"ours_12", f"ours_{ITERATIONS}"}
    assert len(json.loads((trained / "per_view.json").read_text())["ours_12"]) == 3
    cameras = json.loads((trained / "cameras.json").read_text())
    assert len(cameras) == 9 and cameras[0]["position"] == pytest.approx([0, 0, -3], abs=1e-5)


def test_training_brings_the_render_nearer_to_the_truth(clip, tmp_path):
    run(clip, tmp_path / "a", "--test_iterations", "1", "--no-pose_conditioning", iterations=120)
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert results["ours_120"]["PSNR"] > results["ours_1"]["PSNR"] + 3


def test_run_is_a_function_of_its_seed(clip, trained, tmp_path):
    run(clip, tmp_path / "again")
    assert_same_model(trained, tmp_path / "again")
    run(clip, tmp_path / "other", "--seed", "1")
    first, other = model_tensors(trained), model_tensors(tmp_path / "other")
    assert not torch.equal(first["triplane.planes"], other["triplane.planes"])


def test_resumed_run_equals_an_uninterrupted_one(clip, trained, tmp_path):
    checkpoint = trained / "checkpoints" / "iteration_12.safetensors"
    run(clip, tmp_path / "resumed", "--start_checkpoint", str(checkpoint))
    assert_same_model(trained, tmp_path / "resumed")


def test_head_is_scored_and_saved_before_its_gaussians_change(clip, tmp_path):
    """Clones, splits and resets of iteration 12 wait for iteration 13: until then they only disturb."""
    sizes = {}
    for last in (11, 12, 13):
        run(clip, tmp_path / str(last), "--max_gaussians", "0", iterations=last)
        sizes[last] = len(model_tensors(tmp_path / str(last), last)["gaussians.xyz"])
    assert sizes[11] == sizes[12] < sizes[13]


def test_interrupted_run_saves_and_resume_goes_on_exactly(clip, trained, tmp_path, monkeypatch):
    report = Session.report

    def interrupt(self, *args):
        if self.state.iteration == 7:
            signal.raise_signal(signal.SIGINT)
        report(self, *args)

    model = tmp_path / "interrupted"
    monkeypatch.setattr(Session, "report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(clip, model)
    assert (model / "model" / "iteration_7.safetensors").is_file()
    monkeypatch.undo()
    train.main(["-m", str(model), "--resume"])
    assert_same_model(trained, model)


def test_overwrite_removes_the_old_run_and_keeps_foreign_files(clip, trained, tmp_path):
    model = tmp_path / "model"
    run(clip, model, iterations=3)
    (model / "notes.txt").write_text("mine")
    run(clip, model, "--overwrite", iterations=2)
    assert [path.name for path in (model / "model").iterdir()] == ["iteration_2.safetensors"]
    assert (model / "notes.txt").read_text() == "mine"


def test_planned_run_stores_the_schedule_that_it_followed(clip, tmp_path):
    flags = [flag for flag in TINY if flag not in ("--densify_until_iter", "20")]
    train.main(["-s", str(clip), "-m", str(tmp_path / "a"), *flags, "--max_minutes", "0.02"])
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    iterations = config["optimization"]["iterations"]
    assert 0 < iterations != 2_000
    assert config["optimization"]["densify_until_iter"] == pytest.approx(iterations * 0.75, abs=1)
    assert config["optimization"]["warm_up"] == 4  # was given


def test_render_writes_scored_sets_and_a_swing(trained, capsys):
    render.main(["-m", str(trained), "--quiet"])
    for name, count in (("train", 9), ("test", 3)):
        folder = trained / name / f"ours_{ITERATIONS}"
        for kind in ("renders", "gt", "depth"):
            assert len(list((folder / kind).glob("*.png"))) == count
        assert (folder / "video.mp4").stat().st_size > 0
    metrics = json.loads((trained / "test" / f"ours_{ITERATIONS}" / "metrics.json").read_text())
    results = json.loads((trained / "results.json").read_text())[f"ours_{ITERATIONS}"]
    assert metrics["mean"]["psnr"] == pytest.approx(results["PSNR"], abs=1e-4)
    assert metrics["mean"]["ssim"] == pytest.approx(results["SSIM"], abs=1e-5)
    assert f"PSNR {results['PSNR']:.2f}" in capsys.readouterr().out

    render.main(["-m", str(trained), "--novel_view", "--num_frames", "5", "--quiet"])
    swing = trained / "novel_view" / f"ours_{ITERATIONS}"
    frames = [read_png(path) for path in sorted((swing / "renders").glob("*.png"))]
    assert len(frames) == 5 and (swing / "video.mp4").is_file()
    assert (frames[0] != frames[1]).any()


def test_tracking_held_out_frames_is_scored_apart_and_helps(trained):
    render.main(["-m", str(trained), "--skip_train", "--quiet"])
    render.main(["-m", str(trained), "--test_time_tracking", "20", "--quiet"])
    folders = [trained / name / f"ours_{ITERATIONS}" for name in ("test", "test_tracked")]
    plain, tracked = (json.loads((f / "metrics.json").read_text())["mean"]["l1"] for f in folders)
    assert tracked < plain
    assert not (trained / "train_tracked").exists()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--skip_train --skip_test", "--skip_test was given, and --skip_train was given"),
        (
            "--skip_test --test_time_tracking 2",
            "--skip_test was given, and --test_time_tracking draws no others",
        ),
    ],
)
def test_options_that_leave_nothing_to_render_are_named(trained, capsys, flags, why):
    with pytest.raises(SystemExit, match="2"):
        render.main(["-m", str(trained), *flags.split()])
    assert capsys.readouterr().err.splitlines()[-1] == f"error: nothing to render: {why}"


def test_a_run_without_a_checkpoint_cannot_be_resumed(clip, tmp_path, capsys):
    """One that was killed before its first: what there is of it says what to do."""
    run(clip, tmp_path / "run", "--iterations", "1")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(SystemExit, match="2"):
        train.main(["-m", str(tmp_path / "run"), "--resume"])
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: --resume: ") and line.endswith(
        "begin anew by --overwrite in the place of --resume"
    )


def test_rendering_writes_nothing_into_the_model(trained):
    before = {path: path.read_bytes() for path in (trained / "model").iterdir()}
    render.main(["-m", str(trained), "--skip_train", "--quiet"])
    assert {path: path.read_bytes() for path in (trained / "model").iterdir()} == before


def test_five_lines_load_an_avatar_and_draw_an_expression(trained):
    from gaussian_renderer import render as draw

    avatar = load_avatar(trained)
    expression = avatar.expression(shape0=0.9)
    splats = avatar.head(avatar.camera, Drive(expression))
    image = draw(avatar.camera, splats, avatar.background).image
    assert image.shape == (3, 24, 32) and image.isfinite().all() and image.std() > 0.01


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-s", "{clip}", "-m", "{trained}"], ["-m", "--overwrite", "--resume"]),
        (["-s", "{broken}", "-m", "{new}"], ["mask", "5.png"]),
        (["-s", "{no_parsing}", "-m", "{new}", "--only_head"], ["parsing", "--only_head"]),
        (["-s", "{clip}", "-m", "{new}", "--test_frames", "12"], ["--test_frames 12", "12 frames"]),
        (["-s", "{clip}", "-m", "{new}", "--device", "cuda:7"], ["--device cuda:7"]),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_loses_nothing(clip, trained, tmp_path, capsys, flags, words):
    broken = write_clip(tmp_path / "broken", num_frames=12)
    (broken / "mask" / "5.png").unlink()
    no_parsing = write_clip(tmp_path / "no_parsing", num_frames=12)
    for path in (no_parsing / "parsing").iterdir():
        path.unlink()
    places = dict(clip=clip, trained=trained, broken=broken, no_parsing=no_parsing, new=tmp_path / "new")
    before = sorted(trained.rglob("*"))
    with pytest.raises(SystemExit) as error:
        train.main([flag.format(**places) for flag in flags])
    message = capsys.readouterr().err.strip()
    assert error.value.code == 2
    assert message.startswith("error: ") and "\n" not in message
    assert all(word in message for word in words), message
    assert sorted(trained.rglob("*")) == before and not (tmp_path / "new").exists()


def test_numbers_that_stay_wrong_stop_the_run_with_one_line_and_the_last_checkpoint(clip, tmp_path, capsys):
    flags = ["--scaling_lr", "1e30", "--densify_from_iter", "100", "--checkpoint_iterations", "1"]
    with pytest.raises(SystemExit) as error:
        run(clip, tmp_path / "nan", *flags, iterations=60)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.value.code == 2
    assert (
        "iteration 21, frame" in message and "the gradient of" in message and "20 steps in a row" in message
    )
    assert [path.name for path in (tmp_path / "nan" / "checkpoints").iterdir()] == ["iteration_1.safetensors"]


def test_gaussians_that_went_wrong_are_pruned_and_the_run_goes_on(clip, tmp_path, capsys):
    run(clip, tmp_path / "huge", "--scaling_lr", "1e30")
    said = capsys.readouterr().err
    assert "the step was skipped" in said and "Gaussians that were not finite, or huge, were pruned" in said
    assert all(value.isfinite().all() for value in model_tensors(tmp_path / "huge").values())


def test_damaged_model_is_one_line(trained, tmp_path, capsys):
    path = trained / "model" / f"iteration_{ITERATIONS}.safetensors"
    good = path.read_bytes()
    try:
        path.write_bytes(good[: len(good) // 2])
        with pytest.raises(SystemExit) as error:
            render.main(["-m", str(trained), "--quiet"])
    finally:
        path.write_bytes(good)
    assert error.value.code == 2
    assert str(path) in capsys.readouterr().err


DEPARTURES = [
    *(
        "--no-start_on_surface",
        "--random_background",
        "--expression_noise",
        "0.1",
    ),
    *("--average_decay", "0.9", "--blendshape_decay", "0.1", "--num_blendshapes", "4"),
    "--torso_membership",
]
OTHER_DEPARTURES = [
    *("--start_on_surface", "--lambda_outside", "1", "--flat_tau", "--fresh_tau"),
    *("--torso_membership", "--torso_prediction", "--views_per_step", "3"),
]


@pytest.fixture(scope="module")
def clip_with_torso(tmp_path_factory):
    root = write_clip(tmp_path_factory.mktemp("data") / "torso", num_frames=12)
    with edited_json(root) as document:
        for i, frame in enumerate(document["frames"]):
            frame["torso_transform"] = np.eye(4).tolist()
            frame["torso_transform"][0][3] = 0.01 * (i % 5)
    return root


@pytest.mark.parametrize("flags", [DEPARTURES, OTHER_DEPARTURES])
def test_a_run_with_every_departure_resumes_exactly(clip_with_torso, tmp_path, flags):
    run(clip_with_torso, tmp_path / "whole", *flags, "--checkpoint_iterations", "22")
    # By then weights are averaged.
    checkpoint = tmp_path / "whole" / "checkpoints" / "iteration_22.safetensors"
    run(clip_with_torso, tmp_path / "resumed", *flags, "--start_checkpoint", str(checkpoint))
    assert_same_model(tmp_path / "whole", tmp_path / "resumed")
    render.main(["-m", str(tmp_path / "resumed"), "--skip_train", "--quiet"])


def test_a_torso_is_predicted_when_rendering_and_its_measured_motion_not_looked_at(clip_with_torso, tmp_path):
    model = tmp_path / "run"
    run(clip_with_torso, model, *OTHER_DEPARTURES)
    assert load_avatar(model).head.torso_map.abs().max() > 0
    scored = json.loads((model / "results.json").read_text())[f"ours_{ITERATIONS}"]["PSNR"]
    with edited_json(clip_with_torso) as document:  # held-out motions that nobody may see
        kept = [frame["torso_transform"] for frame in document["frames"]]
        for frame in document["frames"][-3:]:
            frame["torso_transform"] = np.eye(4).tolist()
            frame["torso_transform"][0][3] = 5.0
    render.main(["-m", str(model), "--skip_train", "--quiet"])
    rendered = json.loads((model / "test" / f"ours_{ITERATIONS}" / "metrics.json").read_text())["mean"][
        "psnr"
    ]
    with edited_json(clip_with_torso) as document:
        for frame, torso in zip(document["frames"], kept):
            frame["torso_transform"] = torso
    assert rendered == pytest.approx(scored, abs=1e-4)


def test_without_a_torsos_motion_in_the_data_prediction_is_off_with_a_line(clip, tmp_path, capsys):
    run(clip, tmp_path / "run", *OTHER_DEPARTURES, "--no-quiet", "--iterations", "2")
    assert "no torso_transform: --torso_prediction is off" in capsys.readouterr().err
    assert not hasattr(load_avatar(tmp_path / "run").head, "torso_map")


def test_metrics_scores_what_render_wrote(trained, capsys):
    render.main(["-m", str(trained), "--skip_train", "--quiet"])
    folder = trained / "test" / f"ours_{ITERATIONS}"
    rendered = json.loads((folder / "metrics.json").read_text())
    capsys.readouterr()
    metrics.main(["-m", str(trained), "--device", "cpu"])
    output = capsys.readouterr()
    scored = json.loads((folder / "metrics.json").read_text())
    assert scored["per_view"] == rendered["per_view"]
    # the files hold 8 bits
    assert scored["scores"]["mean"]["psnr"] == pytest.approx(rendered["mean"]["psnr"], abs=0.02)
    assert scored["scores"]["mean"]["ssim"] == pytest.approx(rendered["mean"]["ssim"], abs=2e-3)
    results = json.loads((trained / "results.json").read_text())
    assert results.keys() == {"ours_12", f"ours_{ITERATIONS}"}
    assert results[f"ours_{ITERATIONS}"].keys() >= {"L1", "PSNR", "SSIM", "mouth_psnr"}
    assert output.out.splitlines()[2].startswith(f"| {trained} ")
    assert "LPIPS is not computed" in output.err
    assert (folder / "strips.png").is_file()


def test_metrics_without_a_rendering_is_one_line_and_leaves_other_runs_alone(trained, tmp_path, capsys):
    before = {path: path.read_bytes() for path in trained.rglob("*.json")}
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as error:
        metrics.main(["-m", str(trained), str(tmp_path / "empty")])
    assert error.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in trained.rglob("*.json")}


def permuted(clip, root):
    """The same clip with its coefficients in another order."""
    shutil.copytree(clip, root)
    with edited_json(root) as document:
        document["exp_names"].reverse()
        for frame in document["frames"]:
            frame["exp_ori"].reverse()
    return root


def test_the_trained_clip_is_scored_wherever_it_lies_and_in_whatever_order(clip, trained, tmp_path, capsys):
    scores = []
    for source in (clip, permuted(clip, tmp_path / "permuted")):
        render.main(["-m", str(trained), "-s", str(source), "--skip_train", "--quiet"])
        metrics_file = trained / "test" / f"ours_{ITERATIONS}" / "metrics.json"
        scores.append(json.loads(metrics_file.read_text())["mean"]["psnr"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_another_clip_is_drawn_without_scores_into_a_folder_of_its_own(clip, trained, tmp_path, capsys):
    other = permuted(clip, tmp_path / "other")
    with edited_json(other) as document:
        document["frames"] = document["frames"][2:7]
    for folder in ("ori_imgs", "mask", "parsing"):
        shutil.rmtree(other / folder)
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    render.main(["-m", str(trained), "-s", str(other)])
    said = capsys.readouterr()
    assert "not the clip that the avatar was trained on" in said.err and "matched by name" in said.err
    assert "PSNR" not in said.out
    folder = trained / "driven_by_other" / f"ours_{ITERATIONS}"
    assert len(list((folder / "renders").iterdir())) == 5
    assert not (folder / "gt").exists() and not (folder / "metrics.json").exists()
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(SystemExit):
        metrics.main(["-m", str(trained), "-s", str(other), "--device", "cpu"])
    shutil.rmtree(trained / "driven_by_other")


def test_a_swing_needs_no_footage(clip, trained, tmp_path, capsys):
    model = tmp_path / "avatar"
    shutil.copytree(trained, model)
    config = json.loads((model / "config.json").read_text())
    config["model"]["source_path"] = str(tmp_path / "gone")
    (model / "config.json").write_text(json.dumps(config))
    render.main(["-m", str(model), "--novel_view", "--num_frames", "5", "--quiet"])
    render.main(["-m", str(trained), "--novel_view", "--num_frames", "5", "--quiet"])
    pictures = [
        [
            path.read_bytes()
            for path in sorted((m / "novel_view" / f"ours_{ITERATIONS}" / "renders").iterdir())
        ]
        for m in (model, trained)
    ]
    assert len(pictures[0]) == 5 and pictures[0] == pictures[1]
    with pytest.raises(SystemExit) as error:
        render.main(["-m", str(model)])
    assert error.value.code == 2
    assert re.search(r"gone: no such folder.*name it by -s$", capsys.readouterr().err.strip())


def test_a_resumed_run_matches_coefficients_by_name(clip, trained, tmp_path):
    checkpoint = trained / "checkpoints" / "iteration_12.safetensors"
    other = permuted(clip, tmp_path / "permuted")
    run(other, tmp_path / "resumed", "--start_checkpoint", str(checkpoint))
    assert_same_model(trained, tmp_path / "resumed")
    with edited_json(other) as document:
        document["exp_names"][0] = "jawOpen"
    with pytest.raises(SystemExit) as error:
        run(other, tmp_path / "refused", "--start_checkpoint", str(checkpoint))
    assert error.value.code == 2 and not (tmp_path / "refused").exists()


def test_names_in_another_encoding_are_written_as_they_are(clip, tmp_path, capfdbinary):
    name = os.fsdecode(b"\xd6\xd0\xce\xc4")
    source = tmp_path / name
    shutil.copytree(clip, source)
    model = tmp_path / f"run_{name}"
    train.main(["-s", str(source), "-m", str(model), *TINY, "--iterations", "3", "--no-quiet"])
    train.main(["-m", str(model), "--resume", "--iterations", "4"])
    render.main(["-m", str(model), "--skip_train", "--quiet"])
    metrics.main(["-m", str(model), "--device", "cpu", "--quiet"])
    assert b"\xd6\xd0\xce\xc4" in (model / "train.log").read_bytes()
    assert b"\xd6\xd0\xce\xc4" in b"".join(capfdbinary.readouterr())


def test_a_place_that_refuses_is_named_before_training(clip, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as error:
        run(clip, tmp_path / "file" / "sub")
    assert error.value.code == 2
    assert f"{tmp_path / 'file'} is a file; expected a folder" in capsys.readouterr().err
