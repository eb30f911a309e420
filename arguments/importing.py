"""The options of import_checkpoint.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass
from pathlib import Path

from arguments.options import option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError
from utils.files import why_not_writable

IMPORT_USAGE = "python import_checkpoint.py output/published -s data/id1 -m output/id1"


@dataclass(frozen=True)
class ImportParams:
    """Import: a checkpoint of the published GaussianHead code becomes an avatar."""

    checkpoint: Path | None = option(
        None,
        "folder of a run of the published code: point_cloud/, deform/, tilted/, trip/",
        flag="checkpoint",
        shown="required",
    )
    source_path: Path | None = option(
        None, "folder of the clip that it was trained on", short="s", shown="the one that its cfg_args names"
    )
    model_path: Path | None = option(None, "folder for the avatar", short="m", shown="required")
    iteration: int = option(-1, "saved iteration to import; -1 = the last one", unit="iterations", low=-1)
    only_head: bool = option(
        False, "it was trained with --only_head: its pictures are compared with the head alone"
    )
    overwrite: bool = option(False, "replace the avatar that is in --model_path, and what was rendered of it")
    quiet: bool = option(False, "print errors only")


IMPORT_GROUPS = {"import": ImportParams}


def parse_import_args(argv: list[str] | None = None) -> ImportParams:
    """Parse and check the command line of import_checkpoint.py. Raises UserError."""
    parser = build_parser(
        "import_checkpoint.py", IMPORT_USAGE, "Import an avatar of the published code.", IMPORT_GROUPS
    )
    params = ImportParams(**parse_flags(parser, argv, IMPORT_GROUPS))
    check_ranges(params)
    if params.checkpoint is None:
        raise UserError("no checkpoint named; expected the folder of a run of the published code")
    if not params.checkpoint.is_dir():
        raise UserError(f"{params.checkpoint}: no such folder")
    if params.model_path is None:
        raise UserError("-m/--model_path: missing; a folder for the avatar, for example -m output/id1")
    if params.model_path.resolve() == params.checkpoint.resolve():
        raise UserError(f"-m/--model_path {params.model_path}: is the checkpoint; expected another folder")
    if reason := why_not_writable(params.model_path):
        raise UserError(f"-m/--model_path {params.model_path}: {reason}")
    return params
