"""The head that prepare.py fitted to a clip: head.json beside transforms.json, and the model's file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from parametric_head.mesh import vertex_normals
from parametric_head.model import NAME, ParametricHead, load_head
from parametric_head.model_file import find_head
from parametric_head.person import EYEBALLS, Person, PersonMesh, gaze_axes, gaze_columns
from utils.errors import UserError
from utils.json_files import read_json

FILE = "head.json"


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A person's mesh in head units; its coefficients are those of the clip, in the clip's order."""

    head: ParametricHead
    person: Person
    mesh: PersonMesh
    # Of each of the clip's coefficients, the model's; -1 where the model has none.
    columns: np.ndarray  # [E]

    @property
    def unit(self) -> float:
        """Head units per centimetre."""
        return self.person.scale

    def coefficients(self, expression: np.ndarray) -> np.ndarray:
        """The model's coefficients for the clip's [E]."""
        values = np.zeros(len(self.head.names), np.float32)
        known = self.columns >= 0
        values[self.columns[known]] = expression[known]
        return values

    @cached_property
    def shapes(self) -> np.ndarray:
        """Displacements at 1 of each of the clip's coefficients [E, V, 3]."""
        known = (self.columns >= 0)[:, None, None]
        return np.where(known, self.mesh.shapes[np.maximum(self.columns, 0)], 0).astype(np.float32)

    @cached_property
    def ball_ranges(self) -> np.ndarray:  # [2, 2]
        parts = [self.head.part(name) for name in EYEBALLS]
        return np.array([[part.start, part.stop] for part in parts])

    @cached_property
    def ball_turns(self) -> np.ndarray:
        """Rotation vectors of the eyeballs at 1 of each of the clip's coefficients [2, 3, E]."""
        turns = np.zeros((2, 3, len(self.head.names)), np.float32)
        for side in range(2):
            turns[side][:, gaze_columns(self.head, side)] = gaze_axes(side).T
        return np.where(self.columns >= 0, turns[..., np.maximum(self.columns, 0)], 0)

    @cached_property
    def normals(self) -> np.ndarray:  # [V, 3]
        return vertex_normals(self.mesh.neutral, self.head.triangles)

    @cached_property
    def mirrored(self) -> np.ndarray:
        """The vertex on the other side of the face, for each [V]."""
        points = self.head.neutral
        return cKDTree(points).query(points * [-1, 1, 1])[1]


def find_fitted_head(root: Path, names: Sequence[str] | None, models: Path | None, quiet: bool) -> FittedHead:
    """Read the head of the clip in `root`, whose coefficients have these names. Raises UserError."""
    path = root / FILE
    if not path.is_file():
        raise UserError(f"{path}: missing; fit the head model by: python prepare.py --track-only {root}")
    if names is None:
        raise UserError(f"{root / 'transforms.json'}: exp_names: missing; the head model needs names")
    document = read_json(path)
    head = load_head(find_head(models, quiet))
    try:
        signature, person = document["model"], Person.from_json(document["person"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected what prepare.py writes ({error})") from None
    if signature != head.signature:
        raise UserError(f"{path}: fitted with {signature}, here is {NAME} of another content")
    columns = np.array([head.columns.get(name, -1) for name in names])
    if (columns < 0).all():
        raise UserError(f"{root / 'transforms.json'}: exp_names: none is a coefficient of {NAME}")
    return FittedHead(head, person, person.mesh(head), columns)
