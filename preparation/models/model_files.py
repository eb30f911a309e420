"""Model files: where they are found, and the SHA-256 that each must have.

Looked for in `--models DIR`, else in GAUSSIANHEAD_MODELS, else in the user's cache, where a missing file is
downloaded on first use. All are Google's, Apache-2.0.
"""

from pathlib import Path
from typing import NamedTuple

from utils.downloads import cache_folder, check_sha256, named_folder, read_url
from utils.errors import UserError
from utils.files import replacing
from utils.progress import Progress

_BUCKET = "https://storage.googleapis.com"


class Model(NamedTuple):
    """A file that is always the same."""

    name: str
    url: str
    sha256: str
    # Bytes.
    size: int


FACE_LANDMARKER = Model(
    "face_landmarker.task",
    f"{_BUCKET}/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    3_758_596,
)
SELFIE_SEGMENTATION = Model(
    "selfie_segmentation.tflite",
    f"{_BUCKET}/mediapipe-assets/selfie_segmentation.tflite?generation=1683332563830600",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    249_505,
)
SELFIE_MULTICLASS = Model(
    "selfie_multiclass_256x256.tflite",
    f"{_BUCKET}/mediapipe-models/image_segmenter/selfie_multiclass_256x256/float32/1/selfie_multiclass_256x256.tflite",
    "c6748b1253a99067ef71f7e26ca71096cd449baefa8f101900ea23016507e0e0",
    16_371_837,
)


def find_model(model: Model, folder: Path | None = None, quiet: bool = False) -> Path:
    """Return the path of a model whose content is right, downloading it into the cache where it is missing.

    A folder that was named (`folder`, or the environment's) is only read. Raises UserError with the address
    to fetch it from.
    """
    named = named_folder(folder)
    path = (named.path if named else cache_folder()) / model.name
    if path.is_file():
        _check(path, model)
        return path
    if named:
        raise UserError(f"{path}: missing; {named.flag} names this folder, fetch {model.url} into it")
    _download(model, path, quiet)
    return path


def _check(path: Path, model: Model) -> None:
    check_sha256(path.read_bytes(), model.sha256, path, f"remove it, or fetch {model.url}")


def _download(model: Model, path: Path, quiet: bool) -> None:
    with replacing(path) as partial:
        try:
            with (
                open(partial, "wb") as file,
                Progress(model.size, f"downloading {model.name}", quiet=quiet) as progress,
            ):
                for chunk in read_url(model.url):
                    file.write(chunk)
                    progress.update(len(chunk))
        except UserError as error:
            raise UserError(
                f"{model.name}: {error}; fetch {model.url} elsewhere and name its folder by --models"
            ) from None
        _check(partial, model)
