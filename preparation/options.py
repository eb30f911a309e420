"""What a run is told and given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from preparation.landmarks import FaceTracker
from preparation.matting import Network


@dataclass(frozen=True)
class Options:
    """What the user asked for; lengths in seconds and pixels."""

    video: Path
    out: Path
    fps: float = 30.0  # at most
    start: float = 0.0
    end: float | None = None
    size: int = 512
    focal: float | None = None  # pixels of the upright video
    expression_cutoff: float = 6.0  # Hz
    parsing: bool = True
    torso: bool = True
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Networks:
    """Makers of what finds faces and people; called when needed."""

    face_tracker: Callable[[], FaceTracker]
    matting: Callable[[], Network]
    classes: Callable[[], Network] | None = None  # the 6 classes of a parsing network
    names: dict[str, str] = field(default_factory=dict)  # for the report
