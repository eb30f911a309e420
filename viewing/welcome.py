"""What the terminal says when a page can be opened, and names for avatars."""

import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import torch

from utils.device import describe
from utils.startup import seconds_since_start
from viewing.server import ViewerServer


def welcome_lines(server: ViewerServer, device: torch.device, note: str = "") -> list[str]:
    """Where the page is, from here and over SSH."""
    lines = [note] if note else []
    lines.append(f"viewer: open {server.address} in a browser (Ctrl-C ends it)")
    if (forward := ssh_line(server)) is not None:
        lines.append(f"over SSH: on your own machine run {forward} and open http://127.0.0.1:{server.port}/")
    if server.host not in ("127.0.0.1", "localhost", "::1"):
        lines.append(
            f"--host {server.host}: whoever reaches this machine sees the avatar; there is no password"
        )
    if device.type == "cpu":
        lines.append(f"no GPU in use: pictures of the full avatar take their time ({describe(device)})")
    lines.append(f"start-up took {seconds_since_start():.1f} s")
    return lines


def ssh_line(server: ViewerServer) -> str | None:
    """The command that brings the page to the machine that one sits at; None where that is this one."""
    # Client's address and port, this machine's address and port.
    parts = os.environ.get("SSH_CONNECTION", "").split()
    if len(parts) != 4:
        return None
    user = os.environ.get("USER", "")
    port = "" if parts[3] == "22" else f" -p {parts[3]}"
    there = f"{user}@{parts[2]}" if user else parts[2]
    return f"ssh -L {server.port}:127.0.0.1:{server.port}{port} {there}"


def open_page(address: str) -> None:
    """Open it in a browser; where there is none, that is a notice."""
    try:
        is_open = webbrowser.open(address)
    except webbrowser.Error:
        is_open = False
    if not is_open:
        print("--open: no browser found on this machine; open the address yourself", file=sys.stderr)


def exhibit_names(paths: Sequence[Path]) -> list[str]:
    """Short names that tell avatars apart."""
    names = [path.stem if path.suffix == ".safetensors" else path.resolve().name for path in paths]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]
