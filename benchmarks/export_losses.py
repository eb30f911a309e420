"""What each format of export.py loses: its file is read back, drawn, and compared with the avatar itself.

    python benchmarks/export_losses.py -m avatar.safetensors
    python benchmarks/export_losses.py -m avatar.safetensors --converted spz=a.ply,b.ply

PSNR in dB against the full avatar, in front and at 30 degrees, of the neutral face and of jawOpen 0.6. The
files are written by export.py into a folder that is removed. `--converted` names PLY files of the two faces
that another program has made of one format, to be read in its place: y down, as the 3DGS family has them.
"""

import argparse
import gzip
import io
import itertools
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diff_gaussian_rasterization import Splats
from gaussian_renderer import render
from rendering.export import half_turn
from rendering.formats.lam import PLACE, SCALE, SH_DEGREE_0
from scene import load_avatar
from scene.avatar import Avatar
from scene.cameras import swing_path
from scene.views import Drive
from utils.metrics import psnr
from utils.ply import load_ply
from utils.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
SIZE, TURN = 256, 30.0
FACES: dict[str, dict[str, float]] = {"neutral": {}, "jawOpen 0.6": {"jawOpen": 0.6}}
SUFFIXES = {"ply": "ply", "spz": "spz", "gltf": "glb"}
GLTF_TYPES = {5126: "<f4", 5125: "<u4", 5121: "u1"}
GLTF_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def read_ply(path: Path) -> Splats:
    stored = load_ply(path)
    splats = Splats(
        means=stored.means,
        sh=torch.cat([stored.sh_dc[:, None], stored.sh_rest], dim=1),
        opacities=stored.opacity_logits.sigmoid(),
        scales=stored.log_scales.exp(),
        rotations=stored.rotations,
    )
    return half_turn(splats)


def read_spz(path: Path) -> Splats:
    data = gzip.decompress(path.read_bytes())
    num, degree, bits = struct.unpack_from("<IBB", data, 8)
    sizes = (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1))
    starts = 16 + num * np.cumsum((0, *sizes))
    parts = [np.frombuffer(data[a:b], np.uint8).reshape(num, -1) for a, b in itertools.pairwise(starts)]
    triples = parts[0].reshape(num, 3, 3).astype(np.int32)
    fixed = (triples[..., 0] | triples[..., 1] << 8 | triples[..., 2] << 16) << 8 >> 8
    words = parts[4].copy().view("<u4")[:, 0]
    largest, xyzw = words >> 30, np.zeros((num, 4))
    for place in (3, 2, 1, 0):
        is_stored = largest != place
        value = (words & 511) / 511 * 0.5**0.5 * np.where(words >> 9 & 1, -1, 1)
        xyzw[is_stored, place] = value[is_stored]
        words = np.where(is_stored, words >> 10, words)
    rest = np.sqrt(np.maximum(0, 1 - (xyzw**2).sum(axis=1)))
    xyzw[np.arange(num), largest] = rest
    colors = (parts[2] / 255 - 0.5) / 0.15
    bases = (parts[5].astype(np.float64).reshape(num, -1, 3) - 128) / 128
    sh = np.concatenate([colors[:, None], bases], axis=1)
    scales = np.exp(parts[3] / 16.0 - 10)
    return _splats(fixed / 2.0**bits, sh, parts[1][:, 0] / 255, scales, xyzw[:, [3, 0, 1, 2]])


def read_gltf(path: Path) -> Splats:
    document, array = glb_of(path.read_bytes())
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    named = {name.split(":")[-1]: array(index) for name, index in attributes.items()}
    sh = np.stack([values for name, values in named.items() if name.startswith("SH_")], axis=1)
    opacities, rotations = named["OPACITY"][:, 0], named["ROTATION"][:, [3, 0, 1, 2]]
    return _splats(named["POSITION"], sh, opacities, named["SCALE"], rotations)


def read_lam(path: Path, given: dict[str, float]) -> Splats:
    archive = zipfile.ZipFile(path)
    files = {Path(name).name: archive.read(name) for name in archive.namelist()}
    document, array = glb_of(files["skin.glb"])
    mesh = document["meshes"][0]
    primitive, names = mesh["primitives"][0], mesh["extras"]["targetNames"]
    vertices = array(primitive["attributes"]["POSITION"]).astype(np.float64)
    for name, weight in given.items():
        vertices = vertices + weight * array(primitive["targets"][names.index(name)]["POSITION"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "offset.ply"
        copy.write_bytes(files["offset.ply"])
        stored = load_ply(copy)
    means = torch.from_numpy(vertices[json.load(io.BytesIO(files["vertex_order.json"]))]).float()
    return Splats(
        means=(means + stored.means - torch.tensor(PLACE)) / SCALE,
        sh=(stored.sh_dc[:, None] - 0.5) / SH_DEGREE_0,
        opacities=stored.opacity_logits.sigmoid(),
        scales=stored.log_scales.exp() / SCALE,
        rotations=stored.rotations,
    )


def glb_of(data: bytes):
    """The document of a .glb, and a function that gives the array of an accessor."""
    text_size = struct.unpack_from("<I", data, 12)[0]
    document, content = json.loads(data[20 : 20 + text_size]), data[28 + text_size :]

    def array(index: int) -> np.ndarray:
        accessor = document["accessors"][index]
        width = GLTF_WIDTHS[accessor["type"]]
        start = document["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
        kind = GLTF_TYPES[accessor["componentType"]]
        return np.frombuffer(content, kind, accessor["count"] * width, start).reshape(-1, width)

    return document, array


@torch.no_grad()
def losses(avatar: Avatar, splats: Splats, given: dict[str, float]) -> list[float]:
    """PSNR in dB of the splats' pictures against the avatar's, in front and at TURN degrees."""
    camera = avatar.camera.scaled(SIZE, round(SIZE * avatar.camera.height / avatar.camera.width))
    # A quarter of a swing is its end.
    views = (camera, swing_path(camera, 4, TURN)[1])
    drive = Drive(avatar.expression(**given))
    found = []
    for view in views:
        pictures = [
            render(view, drawn, avatar.background).image for drawn in (splats, avatar.head(view, drive))
        ]
        found.append(float(psnr(*pictures)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-m", "--model_path", type=Path, required=True, help="a full avatar, .safetensors")
    parser.add_argument("--formats", nargs="+", default=[*SUFFIXES, "lam"])
    parser.add_argument("--converted", nargs="+", default=[], help="FORMAT=NEUTRAL.ply,JAW_OPEN.ply")
    options = parser.parse_args()
    converted = dict(each.split("=") for each in options.converted)
    avatar = load_avatar(options.model_path, device="cpu")
    rows = [["format", "MB", *(f"{face}, {where}" for face in FACES for where in ("front", f"{TURN:g} deg"))]]
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.formats:
            size, found = _measure(kind, avatar, options.model_path, Path(folder), converted.get(kind))
            rows.append([kind, f"{size / 1e6:.2f}", *(f"{value:.1f}" for value in found)])
    print(markdown_table(rows))


def _measure(
    kind: str, avatar: Avatar, model: Path, folder: Path, converted: str | None
) -> tuple[int, list[float]]:
    found: list[float] = []
    read = {"ply": read_ply, "spz": read_spz, "gltf": read_gltf}
    for place, given in enumerate(FACES.values()):
        path = folder / f"{place}.{SUFFIXES.get(kind, 'zip')}"
        if kind == "lam":
            path = folder / "avatar.zip"
        flags = [f"{name}={value}" for name, value in given.items()] if kind != "lam" else []
        if not path.exists():
            expression = ["--expression", ",".join(flags)] if flags else []
            command = [sys.executable, "export.py", "-m", str(model.resolve()), "--format", kind]
            subprocess.run([*command, "-o", str(path), "--quiet", *expression], cwd=ROOT, check=True)
        if converted is not None:
            splats = read_ply(Path(converted.split(",")[place]))
        else:
            splats = read_lam(path, given) if kind == "lam" else read[kind](path)
        found += losses(avatar, splats, given)
    return path.stat().st_size, found


def _splats(means, sh, opacities, scales, rotations) -> Splats:
    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32))

    return Splats(
        means=tensor(means),
        sh=tensor(sh),
        opacities=tensor(opacities),
        scales=tensor(scales),
        rotations=tensor(rotations),
    )


if __name__ == "__main__":
    main()
