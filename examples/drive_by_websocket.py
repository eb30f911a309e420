"""Let an avatar speak nonsense and look around, from another program: an example of viewer.py --serve.

    python viewer.py -m output/id1 --serve
    python examples/drive_by_websocket.py ws://127.0.0.1:8080/api pictures/

sets coefficients and head pose for two seconds of 25 frames, which pages of the viewer show, and saves the
pictures that come back. An agent with a voice would take the coefficients from its speech. docs/serve.md has
all messages.
"""

import json
import math
import sys
from pathlib import Path

from websockets.sync.client import connect

RATE, SECONDS, SIDE = 25, 2, 256


def main() -> None:
    """Drive, and save what comes back."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with connect(address, max_size=None) as socket:

        def send(type: str, **fields) -> None:
            socket.send(json.dumps({"type": type, **fields}))

        send("hello", version=1)
        avatar = json.loads(socket.recv())["avatars"][0]
        print(f"{avatar['name']} has {len(avatar['coefficients'])} coefficients")
        send("set_camera", width=SIDE, height=SIDE, background=[1, 1, 1])
        for number in range(RATE * SECONDS):
            seconds = number / RATE
            jaw = 0.25 - 0.25 * math.cos(2 * math.pi * 3 * seconds)
            blink = float(seconds % 1.5 > 1.35)
            send(
                "set_coefficients",
                coefficients={"jawOpen": jaw, "eyeBlinkLeft": blink, "eyeBlinkRight": blink},
            )
            send("set_head_pose", yaw=12 * math.sin(math.pi * seconds), pitch=4 * math.sin(5 * seconds))
            send("request_picture", id=number)
            message = socket.recv()
            # Words of the server are text; a picture is a length, its header in JSON, and the JPEG.
            while isinstance(message, str):
                print(message)
                message = socket.recv()
            length = int.from_bytes(message[:4], "little")
            header = json.loads(message[4 : 4 + length])
            (folder / f"{header['id']:05d}.jpg").write_bytes(message[4 + length :])
    print(f"{RATE * SECONDS} pictures in {folder}")


if __name__ == "__main__":
    main()
