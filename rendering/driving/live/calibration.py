"""From a performer's face to the avatar's, while both move.

    avatar = avatar's rest + scale (performer - performer's rest), clipped

as retarget.py has it for footage. What a performer's rest and range are is not known before the end of a
performance, so they are asked for: `calibrate` takes the face of the last half second as neutral, and what
the face reaches within the seconds after that as its range. Until then the performer's coefficients are the
avatar's, within ARKit's [0, 1]; afterwards they stay within what the avatar's own clip shows.
"""

import threading
from collections import deque
from typing import NamedTuple

import numpy as np

from rendering.driving.head_angles import usual_rotation
from rendering.driving.live.frame import LiveFrame
from rendering.driving.retarget import REACH, Habits, habits_of, scale_between, spelling
from scene.avatar import Avatar, are_arkit
from scene.coefficients import listed
from utils.errors import UserError

# Seconds: of the face that is taken as neutral, and for which the range is observed after that.
NEUTRAL_SECONDS = 0.5
RANGE_SECONDS = 8.0
# Frames; more than 8 s of any camera.
_MOST_FRAMES = 2_000
NONE, OBSERVING, DONE = "none", "observing", "done"


class Driven(NamedTuple):
    """What the avatar does."""

    # By the avatar's names.
    expression: dict[str, float]
    # [3, 3] how the head turns from where it looks into the camera, OpenGL axes; None: not known.
    turn: np.ndarray | None


class LiveFace:
    """Drives one avatar. Threads may call its methods as they like."""

    def __init__(self, avatar: Avatar, ranges: np.ndarray) -> None:
        """ranges [2, E]: least and most of each coefficient in the avatar's clip. Raises UserError for an
        avatar without ARKit's names."""
        names = avatar.expression_names
        if names is None or not are_arkit(names):
            found = listed(names) if names else "no names"
            raise UserError(f"a live face needs an avatar with ARKit's coefficients, this one has {found}")
        self.names = names
        self._place = {spelling(name): i for i, name in enumerate(names)}
        neutral = avatar.neutral_expression.cpu().numpy().astype(np.float64)
        self._neutral, self._ranges = neutral, ranges.astype(np.float64)
        motion = None if avatar.motion is None else avatar.motion.cpu().numpy().astype(np.float64)
        self._own = Habits(neutral, ranges[1] - neutral) if motion is None else habits_of(motion, True)
        self._lock = threading.Lock()
        self._frames: deque[tuple[float, np.ndarray, np.ndarray | None]] = deque(maxlen=_MOST_FRAMES)
        self._forget()

    def _forget(self) -> None:
        self.state = NONE
        self._rest: np.ndarray | None = None
        self._scale = np.ones(len(self.names))
        self._turn_back: np.ndarray | None = None
        self._calibrated_at = 0.0

    def seconds_left(self, now: float) -> float:
        """For how long the range is still observed."""
        return max(0.0, self._calibrated_at + RANGE_SECONDS - now) if self.state == OBSERVING else 0.0

    def calibrate(self) -> bool:
        """Take the newest half second as the neutral face, and observe the range from now on; False where no
        face has been seen."""
        with self._lock:
            if not self._frames:
                return False
            now = self._frames[-1][0]
            recent = [frame for frame in self._frames if frame[0] > now - NEUTRAL_SECONDS]
            self._forget()
            self._rest = np.median([values for _, values, _ in recent], axis=0)
            turns = [rotation for _, _, rotation in recent if rotation is not None]
            self._turn_back = usual_rotation(np.stack(turns)).T if turns else None
            self.state, self._calibrated_at = OBSERVING, now
            self._frames.clear()
            return True

    def reset(self) -> None:
        """Forget neutral face and range."""
        with self._lock:
            self._forget()

    def follow(self, frame: LiveFrame) -> Driven:
        """What the avatar does at this moment; what the performer's coefficients lack is at rest."""
        with self._lock:
            values = np.full(len(self.names), np.nan)
            for name, value in frame.reading.coefficients.items():
                if (place := self._place.get(spelling(name))) is not None:
                    values[place] = value
            rotation = frame.reading.rotation
            is_driven = ~np.isnan(values)
            # Of what is never mentioned neither rest nor range is known: zero, as for ARKit.
            self._frames.append((frame.captured, np.where(is_driven, values, 0.0), rotation))
            self._observe(frame.captured)
            driven = self._expression(values, is_driven)
            turn = rotation
            if rotation is not None and self._turn_back is not None:
                turn = rotation @ self._turn_back
            expression = {
                name: round(float(value), 4) for name, value in zip(self.names, driven, strict=True)
            }
            return Driven(expression, turn)

    def _observe(self, now: float) -> None:
        """At the end of its time, make scales of the range."""
        if self.state != OBSERVING or now - self._calibrated_at < RANGE_SECONDS:
            return
        seen = np.stack([values for _, values, _ in self._frames]) - self._rest
        self._scale = scale_between(np.percentile(seen, REACH, axis=0), self._own.range)
        self.state = DONE

    def _expression(self, values: np.ndarray, is_driven: np.ndarray) -> np.ndarray:  # [E], [E] -> [E]
        if self._rest is None:
            return np.where(is_driven, values.clip(0, 1), self._neutral)
        moved = self._own.rest + self._scale * (np.where(is_driven, values, self._rest) - self._rest)
        low, high = self._ranges
        return moved.clip(np.minimum(low, self._own.rest), np.maximum(high, self._own.rest))
