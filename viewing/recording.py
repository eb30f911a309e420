"""A film of what a page recorded: the full avatar at every moment of it, one frame at a time."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.video import VideoWriter
from viewing.exhibit import Exhibit
from viewing.messages import Record

# A film has no transparency.
_BACKGROUND = (0.0, 0.0, 0.0)


class Film:
    """A film in the making: `advance` draws a frame, until it returns False. The file lasts until `close`."""

    def __init__(self, exhibits: Sequence[Exhibit], order: Record) -> None:
        self._exhibits, self._order = exhibits, order
        self._folder = tempfile.TemporaryDirectory(prefix="gaussianhead-film-")
        self.path = Path(self._folder.name) / "film.mp4"
        self._cancelled = threading.Event()
        self._work = self._drawn()
        self.num_done = 0

    @property
    def num_frames(self) -> int:
        return len(self._order.moments)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Nothing is drawn any more; from any thread."""
        self._cancelled.set()

    def advance(self) -> bool:
        """Draw the next frame; False once the file is complete, or the film was cancelled.

        Raises UserError where ffmpeg fails.
        """
        try:
            next(self._work)
        except (StopIteration, _Cancelled):
            return False
        return True

    def close(self) -> None:
        """Remove the file."""
        self._work.close()
        self._folder.cleanup()

    def _drawn(self) -> Iterator[None]:
        look = self._order.look
        if look.background is None:
            look = replace(look, background=_BACKGROUND)
        with VideoWriter(self.path, self._order.fps) as film:
            for moment in self._order.moments:
                if self.is_cancelled:
                    raise _Cancelled
                pictures = [self._exhibits[number].picture(look, moment) for number in look.avatars]
                film.write(np.concatenate(pictures, axis=1))
                self.num_done += 1
                yield


class _Cancelled(Exception):
    """Ends the block of the file's writer, which then leaves none."""
