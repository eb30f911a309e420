"""Make gallery/ again: an avatar to open before any training, in its light form and as a page.

    make gallery                                          from output/obama
    make gallery ARGS="-m output/obama"

writes gallery/NAME.safetensors (at most 3 MB; `load_avatar`, viewer.py and render.py read it),
gallery/NAME.html (at most 4 MB, open it in a browser) and docs/images/gallery.jpg. docs/gallery.md says how
the avatar was trained.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.errors import UserError, exit_on_user_error

ROOT = Path(__file__).resolve().parents[1]
YAWS = (-30.0, 0.0, 30.0)
FACES: dict[str, dict[str, float]] = {
    "at rest": {},
    "jawOpen": {"jawOpen": 0.7},
    "mouthSmile": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    "mouthPucker": {"mouthPucker": 0.8},
    "eyeBlink": {"eyeBlinkLeft": 0.8, "eyeBlinkRight": 0.8},
}
SIZE = 288


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-m", "--model_path", type=Path, default=Path("output/obama"), help="a trained avatar"
    )
    parser.add_argument("--name", default="obama", help="of the files (default: obama)")
    options = parser.parse_args(argv)
    if not options.model_path.exists():
        raise UserError(f"-m {options.model_path}: no such avatar; docs/gallery.md says how it is trained")

    import export

    folder = ROOT / "gallery"
    folder.mkdir(exist_ok=True)
    light, page = folder / f"{options.name}.safetensors", folder / f"{options.name}.html"
    export.main(["-m", str(options.model_path), "-o", str(light)])
    export.main(["-m", str(options.model_path), "-o", str(page), "--web"])
    draw_sheet(light, ROOT / "docs" / "images" / "gallery.jpg")


def draw_sheet(avatar_path: Path, path: Path) -> None:
    """Faces of an avatar, each seen from three sides, as a JPEG."""
    import torch

    from gaussian_renderer import render
    from scene import load_avatar
    from scene.cameras import Camera, about_y
    from utils import images

    avatar = load_avatar(avatar_path)
    camera = avatar.camera.scaled(SIZE, SIZE)

    def picture(camera: Camera, face: dict[str, float]):
        with torch.no_grad():
            splats = avatar.head(camera, avatar.expression(**face))
            return images.to_uint8(render(camera, splats, torch.ones(3)).image)

    rows = []
    for yaw in YAWS:
        view = camera.turned(about_y(-yaw * torch.pi / 180))
        rows.append([(f"{name}, {yaw:+.0f} degrees", picture(view, face)) for name, face in FACES.items()])
    sheet = images.contact_sheet(rows)
    path.write_bytes(images.jpeg_bytes(sheet, quality=85))
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
