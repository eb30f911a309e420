"""Time what draws a trained avatar: one frame through the library, batches, and what render.py writes.

Every frame has an expression and a camera of its own. Times are from the call to the picture, uint8 on the
device, waited for; of a batch, a picture's share. Writing: PNG of rendering and truth, depth, film (where
there is an ffmpeg), scores, into a folder that is removed. Truths are a clip's where one is named (all of its
frames, decoded meanwhile), else the avatar's neutral picture.

usage: rendering.py AVATAR [CLIP] [--device auto] [--frames 300] [--size WIDTH]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BATCHES = (4, 16)
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path, help="output/id1, or a .safetensors file")
    parser.add_argument("clip", type=Path, nargs="?", help="its data set, for pictures to compare with")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
    parser.add_argument("--frames", type=int, default=300, help="frames of each row (default: 300)")
    parser.add_argument("--size", type=int, help="width in pixels (default: the avatar's)")
    parser.add_argument("--only_head", action="store_true", help="cut the clip's pictures to the head")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    import torch

    from benchmarks.measuring import header, time_calls
    from gaussian_renderer import render
    from rendering.avatar_renderer import AvatarRenderer
    from scene import load_avatar
    from scene.cameras import swing_path
    from utils.device import choose_device
    from utils.images import quantized

    device, num = choose_device(options.device), options.frames
    avatar = load_avatar(options.avatar, device=device)
    height = round(avatar.camera.height * (options.size or avatar.camera.width) / avatar.camera.width)
    camera = avatar.camera.scaled(options.size or avatar.camera.width, height)
    cameras = [other.to(device) for other in swing_path(camera.to("cpu"), 64, 20.0)]
    for other in cameras:
        other.__dict__["intrinsics"] = camera.intrinsics
    random = torch.rand(64, len(avatar.neutral_expression), generator=torch.Generator().manual_seed(0))
    expressions = (0.3 * random).to(device)
    print(
        header(
            device,
            f"{avatar.head.num_splats} Gaussians, {camera.width} x {camera.height}, {num} after {WARM_UP}",
        )
    )
    print(f"{'':44} median ms    p99 ms   frames/s")

    def row(name: str, times, share: int = 1) -> None:
        median, p99 = times.median / share, times.p99 / share
        print(f"{name:44} {median:9.2f} {p99:9.2f} {1e3 / median:10.0f}", flush=True)

    @torch.no_grad()
    def step_by_step(i: int) -> torch.Tensor:
        view = cameras[i % 64]
        splats = avatar.head(view, expressions[i % 64])
        return quantized(render(view, splats, avatar.background).image)

    row("head and render, step by step", time_calls(step_by_step, device, num, WARM_UP))
    renderer = AvatarRenderer(avatar, (camera.width, camera.height))
    one = time_calls(lambda i: renderer(expressions[i % 64], cameras[i % 64]), device, num, WARM_UP)
    row("AvatarRenderer", one)
    for batch in BATCHES:
        renderer = AvatarRenderer(avatar, (camera.width, camera.height), batch=batch)

        def several(i: int, batch: int = batch, renderer: AvatarRenderer = renderer) -> torch.Tensor:
            rows = [(batch * i + k) % 64 for k in range(batch)]
            return renderer(expressions[rows], [cameras[k] for k in rows])

        row(f"AvatarRenderer, batch of {batch}", time_calls(several, device, -(-num // batch), 4), batch)
    views = views_of(options, avatar, cameras, expressions)
    seconds, made = written(views, avatar, num)
    each = 1e3 * seconds / made
    print(f"{'written: PNG, truth, depth, film, scores':44} {each:9.2f} {'':9} {1e3 / each:10.0f}")


def views_of(options: argparse.Namespace, avatar, cameras, expressions) -> Collection:
    """What is written: frames of the clip, else driven views beside the neutral picture."""
    import torch

    from arguments import NetworkParams
    from rendering.avatar_renderer import AvatarRenderer
    from rendering.views import FrameViews
    from scene.dataset import FrameDataset
    from scene.dataset_readers import read_clip
    from scene.views import Drive, HeadView

    if options.clip is not None:
        clip = read_clip(options.clip, options.only_head)
        frames = FrameDataset(
            clip,
            range(len(clip.frames)),
            resolution=cameras[0].width,
            background=avatar.background,
            only_head=options.only_head,
            device=avatar.background.device,
            data_device="cpu",
            cache_bytes=0,
        )
        return FrameViews(frames, avatar.background, NetworkParams())
    size = cameras[0].width, cameras[0].height
    truth = AvatarRenderer(avatar, size)(avatar.neutral_expression).permute(2, 0, 1).float() / 255
    return [
        HeadView(camera, Drive(expression), avatar.background, truth.contiguous())
        for camera, expression in zip(cameras, torch.unbind(expressions), strict=True)
    ]


def written(views: Collection, avatar, num: int) -> tuple[float, int]:
    """Seconds to draw and write about `num` frames, and how many they were."""
    from itertools import chain, repeat

    from arguments import PipelineParams
    from rendering.drawing import draw_views
    from rendering.writer import RenderWriter

    several = chain.from_iterable(repeat(views, -(-num // len(views))))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with RenderWriter(folder, split="test", iteration=0) as writer:
            for index, (view, drawn) in enumerate(draw_views(avatar.head, several, PipelineParams())):
                writer.write(index, drawn.image, view.truth, drawn.depth, drawn.alpha, view.image_id)
        return time.perf_counter() - start, index + 1


if __name__ == "__main__":
    main()
