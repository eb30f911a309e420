"""Learn an animatable head avatar from a tracked clip.

    python train.py -s data/id1 -m output/id1 --eval

Reads top to bottom like the algorithm; the parts are in scene/ (model, data, optimisation),
gaussian_renderer/ (drawing) and training/ (loss, evaluation, files). `python train.py --help` lists every
option.
"""

import sys

from arguments import parse_train_args
from utils.errors import exit_on_user_error
from utils.startup import prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    config = parse_train_args(argv)  # before torch is imported: --help and a wrong flag answer at once
    prepare_environment()
    from training.session import Session

    with Session(config) as session:
        train(session)


def train(session) -> None:
    """Optimise the head of a session until its schedule, its time or the user ends it."""
    config, state = session.config, session.state
    schedule, head = config.optimization, state.head
    step = session.captured(optimize)

    for iteration in session.iterations():
        if state.before_step_(iteration):
            step.forget()  # other Gaussians
        state.optimizer.set_learning_rates(iteration)
        head.deforms = iteration > schedule.warm_up
        head.active_sh_degree = min(iteration // schedule.sh_increase_interval, config.model.sh_degree)

        view = session.next_view()
        result = step(view, state.densifier.observes(iteration))
        state.after_step_(iteration, schedule)

        session.report(iteration, result.loss, result.image, view.image)


def optimize(session, view, observes: bool):
    """Draw a view, compare, back-propagate and move; on CUDA, this is what is recorded as a graph."""
    import torch

    from gaussian_renderer import render
    from training.captured_step import StepResult
    from training.loss import outside_loss

    state = session.state
    splats = state.head(view.camera, view.expression, view.head_pose, view.torso, view.noise)
    means2d = torch.zeros_like(splats.means, requires_grad=True)
    drawn = render(view.camera, splats, view.background, means2d=means2d, pipeline=session.pipeline)
    loss = session.loss(drawn.image, view.image)
    if view.outside is not None:
        loss = loss + session.config.optimization.lambda_outside * outside_loss(state.head, view)
    loss.backward()
    if observes:
        state.densifier.stats.observe_(drawn.radii, means2d.grad, splats.opacities)
    state.optimizer.step()
    return StepResult(loss.detach(), drawn.image.detach())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
