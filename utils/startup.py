"""What a script sets before it imports torch."""

import os

# Idle OpenMP threads sleep instead of spinning. Where another program keeps a core busy, spinning threads
# wait for one that does not run: on 2 cores a forward pass of the demo avatar (4,454 Gaussians) took 9 to
# 356 ms, against 8 to 14 ms with sleeping threads.
VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE"}


def prepare_environment() -> None:
    """Set these environment variables; what the user has set stays."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
