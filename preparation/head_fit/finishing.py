"""What follows a fit on the pixels: the person takes over what was mended, and its outline is fitted."""

from collections.abc import Callable

import numpy as np

from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.head_fit.head_fit import HeadFit, with_mended_depth
from preparation.head_fit.outline import OutlineViews, choose_views, fit_outline
from preparation.head_fit.pixel_fit import PixelFit
from preparation.tracking.smoothing import smooth_coefficients


def take_over(
    head_fit: HeadFit, refined: PixelFit, image_ids: np.ndarray, cutoff: float
) -> tuple[HeadFit, np.ndarray]:
    """The fit of the pixels, with mended depth; and its coefficients [F, E] smoothed in time.

    cutoff: cycles per frame, inside of runs of image_ids [F].
    """
    person = with_mended_depth(head_fit.person, refined.landmark_depths)
    coefficients = smooth_coefficients(refined.fit.coefficients, image_ids, cutoff)
    return head_fit.with_fit(refined.fit).with_person(person), coefficients


def fit_to_mattes(
    head_fit: HeadFit,
    poses: Poses,
    coefficients: np.ndarray,  # [F, E]
    read_matte: Callable[[int], np.ndarray],
    camera: Camera,
    quiet: bool = False,
) -> HeadFit:
    """Fit skull, ears and neck to the outline of some mattes. read_matte: row -> [H, W] uint8."""
    rows = choose_views(poses)
    views = OutlineViews(poses.select(rows), coefficients[rows], [read_matte(int(row)) for row in rows])
    return head_fit.with_person(fit_outline(head_fit.head, head_fit.person, views, camera, quiet))
