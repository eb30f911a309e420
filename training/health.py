"""Numbers that went wrong: steps that were skipped, by frame and tensor, and Gaussians that were pruned.

A step whose loss or gradient is not finite moves nothing (scene/optimization.py). What it looked at lies on
the device until somebody asks for it, at the report interval: a GPU is not waited for at every step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from training.state import TrainingState
from utils.errors import UserError

# Skipped steps one after the other; then it is no frame that is wrong, but the head.
MOST_IN_A_ROW = 20
# Lines for so many of them; the others are counted.
MOST_LINES = 10


class _Look(NamedTuple):
    """What one step saw."""

    iteration: int
    image_ids: Sequence[int]
    watched: tuple[str, ...]
    are_broken: Tensor  # [W] of `watched`


class Health:
    """Counts what went wrong in a run; `warn` takes lines for the user, `forget` drops recorded steps."""

    def __init__(self, state: TrainingState, warn: Callable[[str], None], forget: Callable[[], None]) -> None:
        self._state, self._warn, self._forget = state, warn, forget
        self.num_skipped = 0
        self._in_a_row = 0
        self._num_broken = 0
        self._looks: list[_Look] = []

    def watch(self, image_ids: Sequence[int]) -> None:
        """Remember how the step of these frames went."""
        optimizer = self._state.optimizer
        # The next step writes there again.
        are_broken = optimizer.are_broken.clone()
        self._looks.append(_Look(self._state.iteration, image_ids, optimizer.watched, are_broken))

    def check(self) -> None:
        """Say what went wrong since the last check, and prune what is no Gaussian any more.

        Raises UserError where too many steps in a row were skipped, or a network's weights are not finite.
        """
        self._count_skipped()
        self._check_parameters()
        pruned = self._state.densifier.num_broken - self._num_broken
        if pruned:
            self._num_broken += pruned
            self._warn(
                f"iteration {self._state.iteration}: {pruned} Gaussians that were not finite, or huge, were "
                f"pruned; {self._num_broken} so far"
            )

    def _count_skipped(self) -> None:
        looks, self._looks = self._looks, []
        if not looks:
            return
        # One wait for all.
        all_broken = iter(torch.cat([look.are_broken for look in looks]).tolist())
        for look in looks:
            names = [name for name, is_broken in zip(look.watched, all_broken) if is_broken]
            if not names:
                self._in_a_row = 0
                continue
            self.num_skipped += 1
            self._in_a_row += 1
            what = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            frames = ("frame " if len(look.image_ids) == 1 else "frames ") + ", ".join(
                map(str, look.image_ids)
            )
            line = f"iteration {look.iteration}, {frames}: not finite: {what}"
            if self._in_a_row == MOST_IN_A_ROW:
                raise UserError(
                    f"{line}; {MOST_IN_A_ROW} steps in a row had to be skipped; stopped, the last checkpoint "
                    "stays; lower the learning rates or look for the cause with --detect_anomaly"
                )
            if self.num_skipped <= MOST_LINES:
                more = "; more of them are only counted" if self.num_skipped == MOST_LINES else ""
                self._warn(f"{line}; the step was skipped, {self.num_skipped} so far{more}")

    def _check_parameters(self) -> None:
        broken = self._broken_parameters()
        if any(name.startswith("gaussians.") for name in broken):
            if self._state.densifier.remove_broken_():
                self._forget()
            broken = self._broken_parameters()
        if broken:
            raise UserError(
                f"iteration {self._state.iteration}: the weights are not finite: {', '.join(broken)}; "
                "stopped, the last checkpoint stays; lower the learning rates or look for the cause with "
                "--detect_anomaly"
            )

    def _broken_parameters(self) -> list[str]:
        parameters = dict(self._state.head.named_parameters())
        are_finite = torch.stack([p.isfinite().all() for p in parameters.values()]).tolist()
        return [name for name, is_finite in zip(parameters, are_finite) if not is_finite]
