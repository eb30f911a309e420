"""Which networks are used: MediaPipe's, from files whose content is checked, or the user's own."""

import sys
from pathlib import Path

from preparation.mediapipe_models import MediaPipeFaceTracker, MediaPipeSegmenter, check_mediapipe
from preparation.models import FACE_LANDMARKER, SELFIE_MULTICLASS, SELFIE_SEGMENTATION, find_model
from preparation.options import Networks
from utils.errors import UserError


def find_networks(folder: Path | None, matting: Path | None, parsing: str, quiet: bool = False) -> Networks:
    """Find, or download, every model file that is needed, before hours of work. Raises UserError.

    parsing: "network" insists on the parsing network, "auto" does without where it cannot be had and says so.
    """
    check_mediapipe()
    landmarker = find_model(FACE_LANDMARKER, folder, quiet)
    names = {"landmarks": FACE_LANDMARKER.name, "matting": str(matting or SELFIE_SEGMENTATION.name)}
    if matting:
        from preparation.matting import OnnxMatting

        OnnxMatting(matting)  # refused now rather than after tracking

        def make_matting() -> OnnxMatting:
            return OnnxMatting(matting)
    else:
        segmenter = find_model(SELFIE_SEGMENTATION, folder, quiet)

        def make_matting() -> MediaPipeSegmenter:
            return MediaPipeSegmenter(segmenter)

    classes = None
    if parsing in ("auto", "network"):
        try:
            multiclass = find_model(SELFIE_MULTICLASS, folder, quiet)

            def classes() -> MediaPipeSegmenter:
                return MediaPipeSegmenter(multiclass)

            names["parsing"] = SELFIE_MULTICLASS.name
        except UserError as error:
            if parsing == "network":
                raise
            if not quiet:
                print(f"note: parsing by jaw line and colours, without a network: {error}", file=sys.stderr)
    names.setdefault("parsing", "none" if parsing == "none" else "jaw line and colours")
    return Networks(lambda: MediaPipeFaceTracker(landmarker), make_matting, classes, names)
