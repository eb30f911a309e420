"""Hold an imported checkpoint of the published code against tensors and pictures that that code made.

Beside the checkpoint lies reference.npz: for some frames vN_ expression, world_view_transform (transposed),
fov, image, and of chosen rows means, scales, rotations, derived, opacity, sh. Prints the largest difference
of each, the PSNR of the float image and of both rounded to 8 bits, and how long frames take.

usage: published.py CHECKPOINT [--iteration N] [--device auto]
"""

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="folder that the published code wrote")
    parser.add_argument("--iteration", type=int, help="saved iteration (default: the last one)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from benchmarks.measuring import header
    from gaussian_renderer import render
    from rendering.avatar_renderer import AvatarRenderer
    from scene.avatar import Avatar
    from scene.cameras import Camera
    from scene.published_checkpoint import iterations_in, read_head
    from utils.device import choose_device
    from utils.rotations import packed_covariances, quaternion_polynomial

    device = choose_device(options.device)
    iteration = options.iteration or iterations_in(options.checkpoint)[-1]
    head = read_head(options.checkpoint, iteration).to(device)
    print(header(device, f"iteration {iteration}: {head.num_splats} Gaussians"))
    white = torch.ones(3, device=device)
    with np.load(options.checkpoint / "reference.npz", allow_pickle=False) as file:
        reference = {name: file[name] for name in file.files}
    names = sorted({name.partition("_")[0] for name in reference if name.endswith("_expression")})
    for frame in names:
        known = {
            name.removeprefix(f"{frame}_"): torch.from_numpy(value).to(device)
            for name, value in reference.items()
            if name.startswith(f"{frame}_") and value.dtype.kind in "fi"
        }
        height, width = known["image"].shape[1:]
        focal = [side / (2 * math.tan(fov / 2)) for side, fov in zip((width, height), known["fov"].tolist())]
        pose = known["world_view_transform"].T.contiguous()
        camera = Camera(pose, *focal, width / 2, height / 2, width, height)
        with torch.no_grad():
            means, scales, rotations = head.deformed(known["expression"])
            derived = means[:, None] * head.zooms
            splats = head(camera, known["expression"])
            image = render(camera, splats, white).image
        rows = known["rows"]
        found = dict(means=means, scales=scales, rotations=rotations, sh=splats.sh)
        found["opacity"] = splats.opacities[:, None]
        differences = {name: largest(value[rows], known[name]) for name, value in found.items()}
        covariances = packed_covariances(quaternion_polynomial(known["rotations"]), known["scales"])
        differences["covariances"] = largest(splats.cov3d[rows], covariances)
        differences["derived"] = largest(derived[rows].transpose(0, 1), known["derived"])
        print(frame, *(f"{name} {value:.1e}" for name, value in differences.items()), sep="  ")
        eight = decibels(rounded(image), rounded(known["image"]))
        print(f"    picture {decibels(image, known['image'].float()):.1f} dB, of 8 bits {eight:.1f} dB")
    avatar = Avatar(head, known["expression"], None, camera, white, iteration)
    expressions = torch.rand(16, head.expression_size, device=device) * 0.3
    for size, batch in ((256, 1), (512, 1), (512, 4)) if device.type == "cuda" else ((256, 1),):
        renderer = AvatarRenderer(avatar, (size, size), batch)
        times = time_pictures(renderer, expressions.repeat(2, 1), device)
        rate = f"{1000 * batch / times.median:.0f} frames/s"
        print(
            f"{size} x {size}, {batch} a call: median {times.median:.2f} ms, p99 {times.p99:.2f} ms, {rate}"
        )


def time_pictures(renderer, expressions, device):
    """Of a call with as many expressions as the renderer takes at once."""
    from benchmarks.measuring import time_calls

    num, warm_up = (300, 20) if device.type == "cuda" else (3, 1)
    return time_calls(lambda i: renderer(expressions[i % 16 :][: renderer.batch]), device, num, warm_up)


def largest(one, other) -> float:
    """The largest absolute difference."""
    return float((one - other).abs().max())


def rounded(image):
    """As its PNG holds it, of 1."""
    return (image.float().clamp(0, 1) * 255).round() / 255


def decibels(one, other) -> float:
    """PSNR."""
    return float(-10 * (one - other).square().mean().clamp_min(1e-12).log10())


if __name__ == "__main__":
    main()
