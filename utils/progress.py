"""A progress bar on a terminal, a line every few seconds in a log, nothing with --quiet."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# What is done, how much of it, and of how much.
Watch = Callable[[str, int, int], None]

LOG_INTERVAL_SECONDS = 10.0
_LOG_FORMAT = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Progress:
    """Counts steps and shows rate, time left and named values; a context manager.

    `initial` is where a resumed run starts counting. On a stream that is no terminal the bar becomes one
    plain line every `log_interval` seconds, the last state included.
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        quiet: bool = False,
        initial: int = 0,
        stream: TextIO | None = None,
        log_interval: float = LOG_INTERVAL_SECONDS,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        options = {"total": total, "desc": description, "initial": initial, "disable": quiet}
        if self._stream.isatty():
            self._bar = tqdm(file=self._stream, dynamic_ncols=True, **options)
        else:
            lines = _Lines(self._stream)
            # miniters=1: look at the clock at every step, so that a slower phase does not silence the log.
            # position=0: a bar inside another one must not move a cursor that a log does not have.
            options |= {"mininterval": log_interval, "miniters": 1, "position": 0}
            self._bar = tqdm(file=lines, bar_format=_LOG_FORMAT, **options)

    def update(self, steps: int = 1, **values: float | int | str) -> None:
        """Go on by `steps`; `values` replace those that are shown beside the bar."""
        if values:
            self._bar.set_postfix({name: _format(value) for name, value in values.items()}, refresh=False)
        self._bar.update(steps)

    def write(self, message: str) -> None:
        """Print a line without tearing the bar; nothing with --quiet."""
        if not self._quiet:
            tqdm.write(message, file=self._stream)

    def close(self) -> None:
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def track(
    items: Iterable[Item], total: int, description: str, *, quiet: bool = False, watch: Watch | None = None
) -> Iterator[Item]:
    """Yield the items and show how far they are; `watch` is called after each one."""
    with Progress(total, description, quiet=quiet) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            progress.update()
            if watch is not None:
                watch(description, number, total)


class _Lines:
    """A stream for tqdm that turns its redrawn line into lines of their own, one for each count."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_count = ""

    def write(self, text: str) -> None:
        line = text.strip()
        count = line.partition(" [")[0]
        if line and count != self._last_count:
            self._stream.write(line + "\n")
            self._last_count = count

    def flush(self) -> None:
        self._stream.flush()


def _format(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
