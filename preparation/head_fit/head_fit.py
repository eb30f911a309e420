"""The head model fitted to a clip, and head.json: what of it a later run needs."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from parametric_head.landmarks import NUM_LANDMARKS, LandmarkPlaces
from parametric_head.model import ParametricHead
from parametric_head.person import Person, PersonMesh
from preparation.geometry.camera import Camera
from preparation.geometry.head_frame import rebase, to_head_frame
from preparation.geometry.landmark_names import CHIN, FOREHEAD_TOP
from preparation.geometry.rigid import Poses, align
from preparation.head_fit.expression_prior import expected_coefficients
from preparation.head_fit.frame_fit import fit_frames
from preparation.head_fit.landmark_model import NOISE, points_of_mesh
from preparation.head_fit.outline import choose_views
from preparation.head_fit.person_fit import fit_person
from preparation.head_fit.score_map import ScoreMap
from preparation.tracking.bundle_adjustment import initial_poses
from utils.progress import Progress
from utils.sampling import evenly_spread

# A person is found from so many frames spread in time, and so many that turn differently.
FRAMES_IN_TIME, FRAMES_BY_TURN = 60, 30


class Detected(NamedTuple):
    """What the detector says of F frames."""

    # Pixels; z in the unit of x, smaller is nearer.
    landmarks: np.ndarray  # [F, 478, 3]
    # 0 to 1, under `names`.
    scores: np.ndarray  # [F, S]
    names: tuple[str, ...]


class Fit(NamedTuple):
    """Pose, expression and the landmarks' own pose, of F frames or of one."""

    poses: Poses
    coefficients: np.ndarray  # [F, E]
    landmark_poses: Poses

    def select(self, rows: np.ndarray | slice) -> "Fit":
        return Fit(self.poses.select(rows), self.coefficients[rows], self.landmark_poses.select(rows))


@dataclass(frozen=True, eq=False)
class HeadFit:
    """Who it is, and what every frame shows, by the landmarks."""

    head: ParametricHead
    person: Person
    mesh: PersonMesh
    fit: Fit
    # Coefficients that the detector's scores make likely.
    expected: np.ndarray  # [F, E]
    # Noise of the landmarks.
    sigmas: np.ndarray  # [478] pixels

    def select(self, rows: np.ndarray) -> "HeadFit":
        """The frames at `rows`, an index or a mask [F]."""
        return replace(self, fit=self.fit.select(rows), expected=self.expected[rows])

    def with_fit(self, fit: Fit) -> "HeadFit":
        return replace(self, fit=fit)

    def with_person(self, person: Person) -> "HeadFit":
        return replace(self, person=person, mesh=person.mesh(self.head))

    @property
    def landmarks(self) -> np.ndarray:  # [478, 3]
        """The person's landmarks as they usually are, head units."""
        return self.mesh.landmarks(np.median(self.fit.coefficients, axis=0))


def fit_head(
    head: ParametricHead, places: LandmarkPlaces, detected: Detected, camera: Camera, quiet: bool = False
) -> HeadFit:
    """Fit the head model to the landmarks of all frames."""
    tracked = detected.landmarks.astype(np.float64)
    observed = tracked[..., :2]
    heights = np.linalg.norm(observed[:, FOREHEAD_TOP] - observed[:, CHIN], axis=1)
    noise = NOISE * float(np.median(heights))
    mean = places.of(head.neutral).astype(np.float64)
    start = initial_poses(align(mean[None], tracked), camera)
    rows = _sample(start)
    expected = expected_coefficients(detected.scores.astype(np.float64), detected.names, head)
    found = fit_person(head, places, observed[rows], start.select(rows), expected[rows], camera, noise, quiet)
    neutral = mean + np.tensordot(found.identity, places.of(head.identity), 1) + found.offsets
    change = to_head_frame(neutral)
    person = Person(
        found.identity, found.offsets, places, float(change.scale), change.rotation, change.translation
    )
    mesh = person.mesh(head)
    points = points_of_mesh(mesh)
    poses = rebase(initial_poses(align(neutral[None], tracked), camera), change)
    with Progress(len(observed), "following the head model", quiet=quiet) as progress:
        poses, coefficients = fit_frames(
            head, points, observed, poses, expected, found.sigmas, camera, progress.update
        )
    return HeadFit(head, person, mesh, Fit(poses, coefficients, poses), expected, found.sigmas)


def with_mended_depth(person: Person, depths: np.ndarray) -> Person:
    """The person, its landmarks moved along z by `depths` [478], head units."""
    along = np.zeros((NUM_LANDMARKS, 3))
    along[:, 2] = depths
    offsets = person.offsets.copy()
    offsets[:NUM_LANDMARKS] += along @ person.rotation / person.scale
    return replace(person, offsets=offsets)


def head_document(fit: HeadFit, camera: Camera, focal_source: str, score_map: ScoreMap) -> dict[str, Any]:
    """What head.json says."""
    return {
        "model": fit.head.signature,
        "person": fit.person.to_json(),
        "focal": {"pixels": float(camera.focal), "source": focal_source},
        "assumed": [
            "the distance between the pupils, which sets the scale of the identity: 6.35 cm",
            "skull, ears and neck where no outline shows them: those of people in general",
        ],
        "scores_to_coefficients": score_map.to_json(),
    }


def _sample(poses: Poses) -> np.ndarray:
    in_time = evenly_spread(len(poses.rotations), FRAMES_IN_TIME)
    return np.union1d(in_time, choose_views(poses, FRAMES_BY_TURN))
