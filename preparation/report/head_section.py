"""report.json's section "head": what the tracked head is worth, and what the clip allows.

With a head model every measure of `head_measures.py` and the outline's distances; without one how far the
head turns, and whether the cloud of landmarks could be as well another.
"""

from typing import Any

import cv2

from preparation.data_set.images_and_arrays import read_image
from preparation.head_fit.outline import choose_views
from preparation.report.head_measures import (
    depth_tradeoff,
    explained_motion,
    held_out_explained,
    lip_and_lid_gaps,
    tells_depth,
    turned_range,
    verdict,
)
from preparation.report.outline_measures import OutlineGaps
from preparation.work import Work

_DEPTH_IS_TOLD = "the clip tells the head's depth from its turns"
_DEPTH_OF_PRIOR = (
    "the clip hardly tells depth from rotation: how deep the head is, and so how far it turns, "
    "is taken from heads in general"
)
DEPTH_OF_LANDMARKS = (
    "landmarks alone can't tell depth from rotation: the head may be too flat and turned too far, or too "
    "deep and turned too little; a head model can (--tracker head)"
)


def head_section(work: Work) -> dict[str, Any]:
    """Measure the head: pixels of the images, degrees, shares."""
    turned = turned_range(work.smoothed.poses)
    section = {
        "model": _model(work),
        "expressions": "solved" if work.is_solved else "scores",
        "turned_degrees": {"yaw": list(turned.yaw), "pitch": list(turned.pitch)},
        "verdict": verdict(turned),
        "depth": _depth(work),
    }
    return section if work.head_fit is None else section | _fitted(work)


def _model(work: Work) -> dict[str, str] | None:
    return work.head_fit and work.head_fit.head.signature


def _depth(work: Work) -> dict[str, Any]:
    """By which share the error rises when the head is made flatter and deeper, and what that means."""
    head_fit, head = work.head_fit, work.head
    landmarks, poses = (
        (head.landmarks, head.poses)
        if head_fit is None
        else (head_fit.landmarks, head_fit.fit.landmark_poses)
    )
    rises = depth_tradeoff(landmarks, work.image_landmarks, poses, head.camera)
    is_told = head_fit is not None and tells_depth(rises)
    meaning = DEPTH_OF_LANDMARKS if head_fit is None else _DEPTH_IS_TOLD if is_told else _DEPTH_OF_PRIOR
    return {"error_rises_by": rises, "is_told": is_told, "meaning": meaning}


def _fitted(work: Work) -> dict[str, Any]:
    """What only a head model tells."""
    mesh, coefficients = work.head_fit.mesh, work.coefficients
    seen = work.head_fit.fit.landmark_poses, work.image_landmarks, work.head.camera
    gaps = lip_and_lid_gaps(mesh, coefficients, work.smoothed.poses, work.image_landmarks, work.head.camera)
    return {
        "explained_motion": {
            "solved": explained_motion(mesh, coefficients, *seen),
            "from_scores_held_out": held_out_explained(mesh, work.named_scores, coefficients, *seen),
        },
        "closed_gaps_px": gaps,
        "outline": _outline(work),
        "frames_rejected": int(work.refinement.is_rejected.sum()),
    }


def _outline(work: Work) -> dict[str, dict[str, float]]:
    """Of frames that turn differently; mostly those on which the outline was fitted."""
    gaps = OutlineGaps(work.head_fit.head, work.head.camera)
    for row in choose_views(work.smoothed.poses):
        matte = read_image(work.layout.mask(int(work.image_ids[row])), cv2.IMREAD_GRAYSCALE)
        gaps.add(work.vertices(row), matte)
    return gaps.summary()
