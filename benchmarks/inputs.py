"""Inputs that lie: build each anew, run the command that meets it, and print what the answer was.

    python benchmarks/inputs.py                                      what is made of data/demo
    python benchmarks/inputs.py --videos A.mp4 B.mp4 --models DIR    clips for prepare.py too
    python benchmarks/inputs.py --checkout OLD                       the same commands in another checkout

A case is right where exit code, words and files are those expected. Needs nothing but the project; clips take
two videos of different people, 10 s or longer, and MediaPipe. What was found goes into output/inputs.json.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from arguments.parser import Parser
from utils.errors import UserError, exit_on_user_error
from utils.json_files import write_json
from utils.progress import track
from utils.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
TINY = "-w --eval -r 64 --preset quick --iterations 3 --device cpu --quiet"
NUM_FRAMES = 40


@dataclass(frozen=True)
class Case:
    """An input, the command that meets it, and the right answer."""

    kind: str
    name: str
    # Makes the input in a folder of its own; returns the command, as the words after `python`.
    make: Callable[["Bench", Path], str]
    code: int
    # All of them stand in what the command prints.
    words: tuple[str, ...] = ()
    # Files that must, and that must not be there afterwards, in the case's folder.
    there: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    needs_videos: bool = False
    without_rights: bool = False


class Bench:
    """Where inputs come from, and an avatar trained on a part of the demo clip."""

    def __init__(self, checkout: Path, folder: Path, videos: list[Path], models: Path | None) -> None:
        self.checkout, self.folder, self.videos, self.models = checkout, folder, videos, models
        self.demo = ROOT / "data" / "demo"
        self.avatar = folder / "avatar"

    def run(self, command: str, without_rights: bool = False) -> subprocess.CompletedProcess:
        """Run a script of the checkout; `without_rights`: as a user whom file permissions bind."""
        words = [sys.executable, *shlex.split(command)]
        if without_rights:
            capabilities = "-dac_override,-dac_read_search"
            words = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}", *words]
        packages = [
            self.checkout / "submodules" / name for name in ("diff-gaussian-rasterization", "simple-knn")
        ]
        path = os.pathsep.join([*map(str, packages), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            words,
            cwd=self.checkout,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

    def clip(self, root: Path) -> dict:
        """The first frames of the demo clip in `root`, and its transforms.json to change."""
        document = json.loads((self.demo / "transforms.json").read_text())
        document["frames"] = document["frames"][:NUM_FRAMES]
        for folder in ("ori_imgs", "mask", "parsing"):
            (root / folder).mkdir(parents=True)
        for frame in document["frames"]:
            i = frame["img_id"]
            for name in (f"ori_imgs/{i}.jpg", f"mask/{i + 1}.png", f"parsing/{i}.png"):
                shutil.copy(self.demo / name, root / name)
        write_json(root / "transforms.json", document)
        return document

    def changed(self, root: Path, change: Callable[[dict], object]) -> None:
        document = self.clip(root)
        write_json(root / "transforms.json", change(document) or document)

    def mattes(self, root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.clip(root)
        for path in (root / "mask").iterdir():
            cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))

    def insta(self, root: Path) -> dict:
        """The demo clip as INSTA's scripts write it."""
        document = json.loads((self.demo / "transforms.json").read_text())
        for folder in ("images", "flame/exp", "seg_mask"):
            (root / folder).mkdir(parents=True)
        frames = []
        for frame in document["frames"][:12]:
            i, name = frame["img_id"], f"{frame['img_id']:05d}"
            pose = np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1.0])
            pose[:3, 3] /= 2.7
            image = cv2.imread(str(self.demo / f"ori_imgs/{i}.jpg"))
            matte = cv2.imread(str(self.demo / f"mask/{i + 1}.png"), cv2.IMREAD_GRAYSCALE)
            cv2.imwrite(str(root / f"images/{name}.png"), np.dstack([image, matte]))
            shutil.copy(self.demo / f"parsing/{i}.png", root / f"seg_mask/{name}.png")
            np.savetxt(root / f"flame/exp/{name}.txt", np.linspace(-1, 1, 100) * (i + 1))
            paths = {"file_path": f"images/{name}.png", "exp_path": f"flame/exp/{name}.txt"}
            frames.append(
                {"transform_matrix": pose.tolist(), **paths, "seg_mask_path": f"seg_mask/{name}.png"}
            )
        head = {"w": 256, "h": 256, "cx": 128.0, "cy": 128.0, "fl_x": 896.0, "fl_y": 896.0}
        write_json(root / "transforms.json", head | {"frames": frames})
        return head | {"frames": frames}

    def ffmpeg(self, *words: str | Path) -> None:
        import imageio_ffmpeg

        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


# --- the cases


def trained_on(change: Callable[[Bench, Path], object]) -> Callable[[Bench, Path], str]:
    def make(bench: Bench, folder: Path) -> str:
        change(bench, folder / "clip")
        return f"train.py -s {shlex.quote(str(folder / 'clip'))} -m {shlex.quote(str(folder / 'run'))} {TINY}"

    return make


def moved(change: Callable[[np.ndarray], object]) -> Callable[[Bench, Path], str]:
    def edit(document: dict) -> None:
        for frame in document["frames"]:
            matrix = np.array(frame["transform_matrix"])
            change(matrix)
            frame["transform_matrix"] = matrix.tolist()

    return trained_on(lambda bench, root: bench.changed(root, edit))


def cropped(bench: Bench, root: Path) -> None:
    document = bench.clip(root)
    for folder in ("ori_imgs", "mask", "parsing"):
        for path in (root / folder).iterdir():
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[20:, 60:])
    write_json(root / "transforms.json", document | {"w": 196, "h": 236, "cx": 68.0, "cy": 108.0})


def with_byte_order_mark(bench: Bench, root: Path) -> None:
    text = json.dumps(bench.clip(root), indent=1).replace("\n", "\r\n")
    (root / "transforms.json").write_bytes(b"\xef\xbb\xbf" + text.encode())


def renamed(old: str, new: str) -> Callable[[dict], None]:
    def edit(document: dict) -> None:
        for frame in document["frames"]:
            frame[new] = frame.pop(old)

    return edit


def without_masks(bench: Bench, root: Path) -> None:
    for frame in bench.clip(root)["frames"]:
        i = frame["img_id"]
        image = cv2.imread(str(root / f"ori_imgs/{i}.jpg"))
        matte = cv2.imread(str(root / f"mask/{i + 1}.png"), cv2.IMREAD_GRAYSCALE)
        (root / f"ori_imgs/{i}.jpg").unlink()
        cv2.imwrite(str(root / f"ori_imgs/{i}.png"), np.dstack([image, matte]))
    shutil.rmtree(root / "mask")


def split_files(bench: Bench, root: Path) -> None:
    bench.clip(root)
    (root / "transforms.json").rename(root / "transforms_train.json")


def rendered(change: Callable[[Bench, Path], object], flags: str) -> Callable[[Bench, Path], str]:
    """render.py of a copy of the avatar; CLIP and RUN in the flags are the case's own."""

    def make(bench: Bench, folder: Path) -> str:
        shutil.copytree(bench.avatar, folder / "run")
        change(bench, folder)
        words = flags.replace("CLIP", str(folder / "clip"))
        return f"render.py -m {folder / 'run'} --device cpu {words}"

    return make


def permuted(bench: Bench, folder: Path) -> None:
    def reverse(document: dict) -> None:
        document["exp_names"].reverse()
        for frame in document["frames"]:
            frame["exp_ori"].reverse()

    bench.changed(folder / "clip", reverse)


def fewer(bench: Bench, folder: Path) -> None:
    def cut(document: dict) -> None:
        document["exp_names"] = document["exp_names"][:46]
        for frame in document["frames"]:
            frame["exp_ori"] = frame["exp_ori"][:46]

    bench.changed(folder / "clip", cut)


def another(bench: Bench, folder: Path) -> None:
    bench.changed(folder / "clip", lambda document: document | {"frames": document["frames"][::3]})


def footage_gone(bench: Bench, folder: Path) -> None:
    config = json.loads((folder / "run" / "config.json").read_text())
    config["model"]["source_path"] = str(folder / "gone")
    write_json(folder / "run" / "config.json", config)


def converted(change: Callable[[Path, dict], object], out: str = "out") -> Callable[[Bench, Path], str]:
    def make(bench: Bench, folder: Path) -> str:
        document = bench.insta(folder / "insta")
        change(folder / "insta", document)
        text = json.dumps(document)
        (folder / "insta" / "transforms.json").write_text(text)
        return f"prepare.py --from insta {folder / 'insta'} {folder / out} --overwrite"

    return make


def no_number(root: Path, document: dict) -> None:
    np.savetxt(root / "flame/exp/00005.txt", np.full(100, np.nan))


def sixteen_bits(root: Path, document: dict) -> None:
    for path in (root / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 257)


def filmed(*ffmpeg: str) -> Callable[[Bench, Path], str]:
    """prepare.py on a clip that ffmpeg makes of 4 s of the first video; VIDEO2 is the other one."""

    def make(bench: Bench, folder: Path) -> str:
        bench.ffmpeg(
            "-i", bench.videos[0], "-t", "4", "-an", "-c:v", "libx264", "-crf", "18", folder / "plain.mp4"
        )
        words = [str(bench.videos[0 if w == "VIDEO1" else 1]) if w.startswith("VIDEO") else w for w in ffmpeg]
        if words:
            bench.ffmpeg(
                *(str(folder / "plain.mp4") if w == "PLAIN" else w for w in words), folder / "clip.mov"
            )
        else:
            (folder / "plain.mp4").rename(folder / "clip.mov")
        models = f"--models {bench.models}" if bench.models else ""
        flags = "--parsing color --no-torso --size 256"
        return f"prepare.py {folder / 'clip.mov'} {folder / 'out'} {models} {flags}"

    return make


ENCODE = ("-c:v", "libx264", "-crf", "18")
LINEAR = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,zscale=t=linear:npl=100"
HLG = f"{LINEAR},format=gbrpf32le,colorchannelmixer=rr=2:gg=2:bb=2,"
HLG += "zscale=p=bt2020:t=arib-std-b67:m=bt2020nc:r=tv,format=yuv420p10le"
TAGS = ("-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")
SAME_SIZE = "setpts=PTS-STARTPTS,scale=450:450,setsar=1,fps=25"
TWO_PEOPLE = f"[0:v]trim=0:2,{SAME_SIZE}[a];[1:v]trim=0:2,{SAME_SIZE}[b];[a][b]concat=n=2:v=1"
ZOOM = f"[0:v]split[x][y];[x]trim=0:2,{SAME_SIZE}[a];[y]trim=8:10,crop=300:300:75:60,{SAME_SIZE}[b];"
ZOOM += "[a][b]concat=n=2:v=1"
HAND = "drawbox=x=iw/3:y=ih*0.42:w=iw/3:h=ih/4:enable='between(t,2,2.8)':c=0xC08060:t=fill"
LEAVES = "drawbox=enable='between(t,0,0.6)+between(t,2,2.8)':c=gray:t=fill"
GBK = os.fsdecode(b"\xd6\xd0\xce\xc4")


def in_another_encoding(bench: Bench, folder: Path) -> str:
    bench.clip(folder / GBK)
    return f"train.py -s {folder / GBK} -m {folder / ('run_' + GBK)} {TINY}"


def locked(bench: Bench, folder: Path) -> str:
    bench.clip(folder / "clip")
    (folder / "locked").mkdir(mode=0o555)
    return f"train.py -s {folder / 'clip'} -m {folder / 'locked' / 'run'} {TINY}"


def unreadable(bench: Bench, folder: Path) -> str:
    shutil.copytree(bench.avatar, folder / "run")
    for path in (folder / "run" / "model").iterdir():
        path.chmod(0)
    return f"render.py -m {folder / 'run'} --device cpu --quiet --novel_view"


def below_a_file(bench: Bench, folder: Path) -> str:
    bench.clip(folder / "clip")
    (folder / "file").touch()
    return f"train.py -s {folder / 'clip'} -m {folder / 'file' / 'sub'} {TINY}"


GEOMETRY, MATTES, NAMES = "geometry against pictures", "mattes", "coefficients"
CONVERTERS, CLIPS, PLACES, LAYOUTS = "converters", "clips", "places", "layouts of others"
DATA_CASES = (
    Case(
        GEOMETRY,
        "head not at the origin",
        moved(lambda m: m.__setitem__((1, 3), m[1, 3] + 1.5)),
        2,
        ("origin",),
    ),
    Case(
        GEOMETRY,
        "millimetres",
        moved(lambda m: m.__setitem__((slice(0, 3), 3), 370 * m[:3, 3])),
        2,
        ("units",),
    ),
    Case(GEOMETRY, "principal point of a crop", trained_on(cropped), 0),
    Case(
        MATTES,
        "0 and 1",
        trained_on(lambda b, r: b.mattes(r, lambda m: m // 128)),
        2,
        ("largest value is 1",),
    ),
    Case(
        MATTES,
        "labels",
        trained_on(lambda b, r: b.mattes(r, lambda m: 38 * (m // 128))),
        2,
        ("largest value is 38",),
    ),
    Case(MATTES, "inverted", trained_on(lambda b, r: b.mattes(r, lambda m: 255 - m)), 2, ("swapped",)),
    Case(
        MATTES,
        "empty",
        trained_on(lambda b, r: b.mattes(r, np.zeros_like)),
        2,
        ("all zero", f"{NUM_FRAMES} of {NUM_FRAMES}"),
    ),
    Case(MATTES, "255 everywhere", trained_on(lambda b, r: b.mattes(r, lambda m: np.full_like(m, 255))), 0),
    Case(NAMES, "another order", rendered(permuted, "-s CLIP"), 0, ("matched by name",)),
    Case(NAMES, "some are missing", rendered(fewer, "-s CLIP"), 2, ("lacks",)),
    Case(
        NAMES, "another clip", rendered(another, "-s CLIP"), 0, ("without scores",), ("run/driven_by_clip",)
    ),
    Case("footage", "gone, --novel_view", rendered(footage_gone, "--novel_view --num_frames 5 --quiet"), 0),
    Case("footage", "gone, frames of it", rendered(footage_gone, "--quiet"), 2, ("name it by -s",)),
    Case(CONVERTERS, "NaN in an expression", converted(no_number), 2, ("00005.txt", "NaN"), absent=("out",)),
    Case(
        CONVERTERS,
        "NaN in a pose",
        converted(lambda root, d: d["frames"][4]["transform_matrix"][0].__setitem__(3, float("nan"))),
        2,
        ("pose", "NaN"),
        absent=("out",),
    ),
    Case(
        CONVERTERS,
        "a frame twice",
        converted(lambda root, d: d["frames"].append(d["frames"][0])),
        2,
        ("more than once",),
        absent=("out",),
    ),
    Case(
        CONVERTERS,
        "into itself",
        converted(lambda root, d: None, "insta"),
        2,
        ("is read",),
        ("insta/images",),
    ),
    Case(
        CONVERTERS, "16 bits", converted(sixteen_bits), 0, ("12 frames",), ("out/parsing", "out/mask/1.png")
    ),
    Case(LAYOUTS, "byte order mark", trained_on(with_byte_order_mark), 0),
    Case(LAYOUTS, "exp", trained_on(lambda b, r: b.changed(r, renamed("exp_ori", "exp"))), 2, ("exp_ori",)),
    Case(
        LAYOUTS,
        "file_path",
        trained_on(lambda b, r: b.changed(r, renamed("img_id", "file_path"))),
        2,
        ("prepare.py --from insta",),
    ),
    Case(
        LAYOUTS, "transforms_train.json", trained_on(split_files), 2, ("transforms_train.json", "prepare.py")
    ),
    Case(LAYOUTS, "RGBA pictures", trained_on(without_masks), 2, ("alpha channel", "--from insta")),
    Case(PLACES, "names in another encoding", in_another_encoding, 0),
    Case(PLACES, "no right to write", locked, 2, ("no right to write",), without_rights=True),
    Case(PLACES, "unreadable model", unreadable, 2, ("Permission denied",), without_rights=True),
    Case(PLACES, "below a file", below_a_file, 2, ("is a file",)),
)


def clip_case(name: str, words: tuple[str, ...], code: int, said: tuple[str, ...]) -> Case:
    absent = ("out/transforms.json",) if code else ()
    return Case(CLIPS, name, filmed(*words), code, said, absent=absent, needs_videos=True)


def through(*filters: str) -> tuple[str, ...]:
    """What makes a clip of the plain one, by a filter."""
    return ("-i", "PLAIN", "-vf", ",".join(filters), *ENCODE)


H265 = ("-c:v", "libx265", "-x265-params", "log-level=none", "-crf", "18")
JOINED = ("-i", "PLAIN", "-i", "VIDEO2", "-filter_complex", TWO_PEOPLE, "-an", *ENCODE)
ZOOMED = ("-i", "VIDEO1", "-filter_complex", ZOOM, "-an", *ENCODE)
VIDEO_CASES = (
    clip_case("as filmed", (), 0, ("residual flow",)),
    clip_case("HDR (HLG)", ("-i", "PLAIN", "-vf", HLG, *H265, *TAGS), 0, ("tone-mapped",)),
    clip_case("two people", JOINED, 2, ("another person", "2.00 s")),
    clip_case("two shots of one person", ZOOMED, 0, ("another shot at 2.00 s",)),
    clip_case("a hand before the mouth", through(HAND), 0, ("something covers", "2.00 to")),
    clip_case("the face leaves", through(LEAVES), 0, ("no face",)),
    clip_case("lies on its side", through("transpose=2"), 2, ("--rotate 90",)),
    clip_case("stands on its head", through("transpose=2", "transpose=2"), 2, ("--rotate 180",)),
)


# --- running them


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    cases = [case for case in (*DATA_CASES, *VIDEO_CASES) if options.videos or not case.needs_videos]
    if options.only:
        cases = [case for case in cases if case.kind in options.only or case.name in options.only]
    answers = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options.checkout.resolve(), Path(name), options.videos, options.models)
        bench.clip(bench.folder / "trained")
        done = bench.run(f"train.py -s {bench.folder / 'trained'} -m {bench.avatar} {TINY}")
        if done.returncode:
            raise UserError(f"the avatar cannot be trained: {done.stderr.decode(errors='replace')[-300:]}")
        for number, case in enumerate(track(cases, len(cases), "inputs")):
            folder = bench.folder / f"case_{number}"
            folder.mkdir()
            answers.append(answer(bench, case, folder))
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
            shutil.rmtree(folder)
    rows = [["kind", "input", "right answer", "exit code", "what it says", "right"], *map(row, answers)]
    print(markdown_table(rows))
    print(f"{sum(a['is_right'] for a in answers)} of {len(answers)} right")
    write_json(options.out, answers)
    return int(not all(a["is_right"] for a in answers))


def answer(bench: Bench, case: Case, folder: Path) -> dict:
    """Build a case, run its command, and compare."""
    done = bench.run(case.make(bench, folder), case.without_rights)
    said = (done.stderr + done.stdout).decode(errors="replace").replace(str(folder), "")
    is_right = done.returncode == case.code and all(word in said for word in case.words)
    is_right &= "Traceback" not in said
    is_right &= all((folder / name).exists() for name in case.there)
    is_right &= not any((folder / name).exists() for name in case.absent)
    lines = [line for line in said.splitlines() if line.strip() and "it/s]" not in line]
    shown = next(
        (line for line in lines if any(word in line for word in case.words)), lines[-1] if lines else ""
    )
    return {
        "kind": case.kind,
        "input": case.name,
        "expected": case.code,
        "code": done.returncode,
        "said": shown.strip(),
        "is_right": bool(is_right),
    }


def row(found: dict) -> list[str]:
    expected = {0: "works", 2: "one line, exit code 2"}[found["expected"]]
    said = found["said"].replace("|", "/")
    short = said if len(said) <= 160 else said[:157] + "..."
    return [
        found["kind"],
        found["input"],
        expected,
        str(found["code"]),
        short,
        "yes" if found["is_right"] else "NO",
    ]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--videos", type=Path, nargs=2, default=[], metavar="MP4", help="clips of two people, 10 s or more")
    add("--models", type=Path, help="folder of prepare.py's model files")
    add("--checkout", type=Path, default=ROOT, help="whose scripts are run (default: this one's)")
    add("--only", nargs="+", metavar="NAME", help="kinds or inputs (default: all)")
    add("--out", type=Path, default=ROOT / "output" / "inputs.json", help="(default: output/inputs.json)")
    options = parser.parse_args(argv)
    for video in options.videos:
        if not video.is_file():
            raise UserError(f"--videos {video}: no such file")
    return options


if __name__ == "__main__":
    sys.exit(main())
