"""Make an avatar of a checkpoint that the published GaussianHead code wrote.

    python import_checkpoint.py output/published -s data/id1 -m output/id1

render.py, viewer.py and export.py take it like one of our own; training cannot go on from it. Nothing in the
checkpoint is run. What is imported, and which quirks come along: docs/published.md.
"""

import shlex
import sys

from arguments.importing import parse_import_args
from utils.errors import UserError, exit_on_user_error
from utils.startup import prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    params = parse_import_args(argv)
    prepare_environment()
    from arguments import TrainConfig, save_config
    from scene.avatar import MODEL_FOLDER, save_avatar
    from scene.published_checkpoint import WARM_UP, iterations_in, read_head
    from scene.published_import import import_avatar
    from training.run_folder import remove_run
    from utils.checkpoint import iteration_path

    iterations = iterations_in(params.checkpoint)
    iteration = iterations[-1] if params.iteration == -1 else params.iteration
    if iteration not in iterations:
        raise UserError(f"--iteration {iteration}: saved are {', '.join(map(str, iterations))}")
    models, config_file = params.model_path / MODEL_FOLDER, params.model_path / "config.json"
    if (models.exists() or config_file.exists()) and not params.overwrite:
        raise UserError(
            f"-m/--model_path {params.model_path}: holds an avatar already; --overwrite replaces it"
        )
    head = read_head(params.checkpoint, iteration)
    avatar, options = import_avatar(params, head, iteration)
    if params.overwrite:
        # Of several iterations render.py would take the last, which may be that of the avatar before.
        remove_run(params.model_path)
    save_avatar(avatar, iteration_path(models, iteration))
    save_config(TrainConfig(model=options), config_file)
    if params.quiet:
        return
    if not head.deforms:
        print(
            f"iteration {iteration} is within the warm-up of the published code ({WARM_UP}): its "
            "deformation was never trained, so the avatar does not move",
            file=sys.stderr,
        )
    size = head.expression_size
    print(f"{params.model_path}: iteration {iteration}, {head.num_splats:,} Gaussians, {size} coefficients")
    print(f"next: python render.py -m {shlex.quote(str(params.model_path))}, or viewer.py")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
