"""README and docs/ name options, files and targets that exist, give examples that run, in lines that fit."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from arguments.presets import PRESETS
from scene.avatar import Avatar, save_avatar
from scene.cameras import Camera
from scene.dataset_readers import read_clip
from tests.scene.heads import EXPRESSION_SIZE, make_head
from tests.test_imports import tracked_files
from tools import make_docs
from utils.images import write_png

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]
EXPERIMENTS = ROOT / "docs" / "experiments.md"
MAX_README_LINES, MAX_LINE_LENGTH = 150, 120

BENCHMARKS = ("benchmarks/results.py", "benchmarks/inputs.py")
OWN = (
    "train.py",
    "render.py",
    "metrics.py",
    "export.py",
    "viewer.py",
    "prepare.py",
    "demo.py",
    "import_checkpoint.py",
    "fleet.py",
)
SCRIPTS = (*OWN, *BENCHMARKS)
# Of pip, ffmpeg and the 3DGS family.
OTHER_PROGRAMS = {"--retries", "--extra-index-url", "--ip", "--images"}
# What docs/experiments.md calls by its name.
RETIRED = {"--pose_refinement_lr", "--start_in_hull", "--extra_expressions"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def known_options() -> set[str]:
    def options_of(script: str) -> list[str]:
        command = [sys.executable, script, "--help"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
        return re.findall(r"--[a-z][A-Za-z0-9_-]*", shown)

    return {option for script in SCRIPTS for option in options_of(script)}


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_block(page: Path, language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", text_of(page), flags=re.DOTALL)[1]


@each_page
def test_every_option_named_exists(page):
    named = set(re.findall(r"(?<![\w-])--(?:no-)?([a-z][A-Za-z0-9_-]*)", text_of(page)))
    assert len(known_options()) > 50
    allowed = known_options() | OTHER_PROGRAMS | (RETIRED if page == EXPERIMENTS else set())
    assert {f"--{name}" for name in named} - allowed == set()


@each_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path), target


@each_page
def test_every_python_file_named_exists(page):
    names = re.findall(r"`([a-z_]+/[a-z_/]*[a-z_]\.py)`", text_of(page))
    assert [name for name in names if not (ROOT / name).is_file()] == []


@each_page
def test_every_make_target_named_exists(page):
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", text_of(page), flags=re.MULTILINE)) <= set(targets)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_generated_regions_are_up_to_date(page):
    assert make_docs.rewritten(text_of(page)) == text_of(page), "run python tools/make_docs.py"


def test_all_scripts_and_presets_have_a_generated_table():
    regions = re.findall(r"<!-- generated: (.+?) -->", "".join(map(text_of, DOCS)))
    assert sorted(regions) == sorted(make_docs.GENERATED)


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "options.md"], ids=lambda page: page.name)
def test_presets_are_described(page):
    named = {name for name in PRESETS if re.search(rf"(--preset |\*\*`){name}`", text_of(page))}
    assert named == set(PRESETS)


def test_docs_hold_pages_and_pictures_but_no_logs():
    kinds = {path.suffix for path in tracked_files() if path.is_relative_to(ROOT / "docs")}
    assert kinds <= {".md", ".png", ".jpg"}


def test_readme_fits_three_screens():
    assert len(text_of(README).splitlines()) <= MAX_README_LINES


def test_no_line_of_a_page_is_too_long():
    pages = [path for path in tracked_files() if path.suffix == ".md" and "submodules" not in path.parts]
    assert {README, *DOCS} <= set(pages)
    long_lines = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in pages
        for number, line in enumerate(text_of(page).splitlines(), start=1)
        if len(line) > MAX_LINE_LENGTH
    ]
    assert long_lines == []


def test_the_example_of_transforms_json_is_read(tmp_path):
    example = json.loads(code_block(ROOT / "docs" / "data.md", "json"))
    assert len(example["exp_names"]) == len(example["frames"][0]["exp_ori"])
    size = example["h"], example["w"]
    for name, shape in (("ori_imgs/0.png", (*size, 3)), ("mask/1.png", size)):
        path = tmp_path / name
        path.parent.mkdir()
        write_png(path, np.full(shape, 255, np.uint8))
    (tmp_path / "transforms.json").write_text(json.dumps(example))
    assert read_clip(tmp_path, only_head=False).expression_names == tuple(example["exp_names"])


def test_the_example_in_python_draws_a_picture(tmp_path, monkeypatch):
    names = ("jawOpen", "eyeBlinkLeft", *(f"other{i}" for i in range(EXPRESSION_SIZE - 2)))
    pose = torch.eye(4)
    pose[2, 3] = 3.0
    camera = Camera(pose, fx=60.0, fy=60.0, cx=16.0, cy=12.0, width=32, height=24)
    avatar = Avatar(make_head(20), torch.zeros(EXPRESSION_SIZE), names, camera, torch.ones(3), iteration=1)
    save_avatar(avatar, tmp_path / "output/id1/model/iteration_1.safetensors")
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code_block(README, "python"), found)
    assert found["image"].shape == (3, 24, 32) and found["image"].std() > 0
