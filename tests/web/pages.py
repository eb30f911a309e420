"""Modules of web/ on a page in a browser, and pictures of what they draw."""

import base64
import contextlib
from pathlib import Path

import numpy as np

from scene.cameras import Camera

WEB = Path(__file__).parents[2] / "web"
ORIGIN = "http://avatar.test"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


@contextlib.contextmanager
def open_modules(browser, files: dict[str, bytes] | None = None):
    """A page that can `import('/renderer.js')`, and fetch `files` by name; served without a network."""
    page = browser.new_page()

    def answer(route):
        name = route.request.url.removeprefix(f"{ORIGIN}/")
        if files and name in files:
            route.fulfill(body=files[name], content_type="application/octet-stream")
        elif name and (WEB / name).is_file():
            route.fulfill(body=(WEB / name).read_bytes(), content_type=TYPES[Path(name).suffix])
        else:
            route.fulfill(body="<!doctype html><title>test</title>", content_type="text/html")

    page.route(f"{ORIGIN}/**", answer)
    page.goto(f"{ORIGIN}/")
    yield page
    page.close()


def as_json(camera: Camera) -> dict:
    """A camera as web/camera.js has them."""
    names = ("fx", "fy", "cx", "cy", "width", "height", "near")
    pose = camera.world_to_camera[:3].double().flatten().tolist()
    return {"worldToCamera": pose, **{name: getattr(camera, name) for name in names}}


def picture_of(encoded: str, camera: Camera) -> np.ndarray:  # [H, W, 4] 0 to 1
    """What a page gave back as base64 of RGBA."""
    values = np.frombuffer(base64.b64decode(encoded), np.uint8)
    return values.reshape(camera.height, camera.width, 4).astype(np.float64) / 255


# Draws `views` of the file `name`, and gives base64 of each one's RGBA.
DRAW = """async ({ name, views }) => {
  const { fetchAvatar } = await import('/avatar_data.js');
  const { SplatRenderer } = await import('/renderer.js');
  const avatar = await fetchAvatar('/' + name);
  const renderer = new SplatRenderer(document.createElement('canvas'), avatar);
  const pictures = views.map((view) => {
    renderer.draw(view);
    const bytes = renderer.pixels();
    let text = '';
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  });
  renderer.dispose();
  return pictures;
}"""
