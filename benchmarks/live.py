"""How old a live face is when its picture leaves a viewer that runs: what docs/viewer.md has a table of.

    python viewer.py -m output/id1 --video clip.mp4
    python benchmarks/live.py ws://127.0.0.1:8080/socket 256 light

asks for the newest face's picture as fast as they come, as the viewer's page does, for 30 s, and prints
percentiles of every stage (10th, 50th, 95th), in milliseconds, with the machine's load. A folder as fourth
argument gets every 50th picture.
"""

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from websockets.sync.client import connect

SECONDS = 30


def main() -> None:
    """Ask, collect and print."""
    address, side, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    folder = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    stages = defaultdict(list)
    with connect(address, max_size=None, proxy=None) as connection:
        welcome = json.loads(connection.recv())
        camera = scaled(welcome["avatars"][0]["camera"], side)
        is_waiting, end, faces, shown = False, time.monotonic() + SECONDS, 0, None
        while time.monotonic() < end:
            message = connection.recv(timeout=30)
            if isinstance(message, bytes):
                length = int.from_bytes(message[:4], "little")
                header = json.loads(message[4 : 4 + length])
                for name, value in header["latency"].items():
                    stages[name].append(value)
                if folder is not None and len(stages["total"]) % 50 == 1:
                    (folder / f"{len(stages['total']):04d}.jpg").write_bytes(message[4 + length :])
                is_waiting = False
            elif (message := json.loads(message))["type"] == "live":
                faces, shown = faces + 1, message
            if shown is not None and not is_waiting:
                connection.send(json.dumps(request(shown, camera, form)))
                is_waiting, shown = True, None
    count = len(stages["total"])
    print(f"{side} x {side}, {form} form: {faces / SECONDS:.1f} faces/s, {count / SECONDS:.1f} pictures/s")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, values in stages.items():
        print(f"{name:>10}" + "".join(f"  {value:6.1f}" for value in np.percentile(values, [10, 50, 95])))


def scaled(camera: dict, side: int) -> dict:
    """The clip's camera at another size."""
    x, y = side / camera["width"], side / camera["height"]
    factors = {"fx": x, "cx": x, "fy": y, "cy": y}
    sized = {name: camera[name] * factor for name, factor in factors.items()}
    return {"world_to_camera": camera["world_to_camera"], **sized, "width": side, "height": side}


def request(face: dict, camera: dict, form: str) -> dict:
    """What the page asks for when a face has come."""
    return {
        "type": "draw",
        "id": face["number"],
        "live": face["number"],
        "avatars": [0],
        "mode": "image",
        "background": [0.1, 0.1, 0.1],
        "encoding": "jpeg",
        "form": form,
        "camera": camera,
        "expression": face["expression"],
        "turn": face["turn"],
    }


if __name__ == "__main__":
    main()
