"""The README speaks of options, files and make targets that exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHER_PROGRAMS = {  # and other spellings: pip, the family, demo.py
    *("--retries", "--extra-index-url", "--upgrade"),
    *("--ip", "--port", "--images", "--random_background", "--minutes"),
}


def _help(script: str) -> str:
    return subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True).stdout


def test_every_option_named_exists():
    scripts = ("train.py", "render.py", "metrics.py", "prepare.py", "benchmarks/results.py")
    known = {option for script in scripts for option in re.findall(r"--[a-z][a-z_-]*", _help(script))}
    named = set(re.findall(r"(?<![\w-])--(?:no-)?([a-z][a-z_-]*)", README))
    named = {f"--{name}" for name in named}
    assert len(known) > 50
    assert named - known - OTHER_PROGRAMS == set()


def test_every_link_within_the_repository_leads_somewhere():
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    files = [target for target in targets if "://" not in target]
    assert len(files) >= 5
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_link_within_the_page_has_its_heading():
    headings = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_the_example_of_transforms_json_is_read(tmp_path):
    import json

    from scene.dataset_readers import read_clip
    from utils.images import write_png

    example = json.loads(re.search(r"```json\n(.*?)```", README, flags=re.DOTALL).group(1))
    assert len(example["exp_names"]) == len(example["frames"][0]["exp_ori"])
    import numpy as np

    for folder, name in (("ori_imgs", "0.png"), ("mask", "1.png")):
        (tmp_path / folder).mkdir()
        shape = (512, 512, 3) if folder == "ori_imgs" else (512, 512)
        write_png(tmp_path / folder / name, np.full(shape, 255, np.uint8))
    (tmp_path / "transforms.json").write_text(json.dumps(example))
    assert read_clip(tmp_path, only_head=False).expression_names == tuple(example["exp_names"])


def test_presets_are_described():
    from arguments.presets import PRESETS

    section = README.split("### Presets")[1].split("\n## ")[0]
    for name, values in PRESETS.items():
        assert f"`{name}`" in section
        for option in ("iterations", "max_gaussians", "deformation_lr_init", "num_blendshapes"):
            if option in values:
                value = values[option]
                shown = {f"{value:,}", f"{value:g}", re.sub(r"e-0", "e-", f"{value:.0e}")}
                assert any(text in section for text in shown), (name, option, shown)
