"""Learn an animatable head avatar from a tracked clip.

    python train.py -s data/id1 -m output/id1 --eval

Reads top to bottom like the algorithm. What a step does is in training/step.py: draw, compare,
back-propagate, move. The parts are in scene/ (the head, its data and optimisation), gaussian_renderer/
(drawing) and training/ (how a run begins, its state, loss and files). `python train.py --help` lists every
option.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from arguments import parse_train_args
from utils.errors import exit_on_user_error
from utils.startup import leave, prepare_environment

if TYPE_CHECKING:
    from training.session import Session


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    config = parse_train_args(argv)
    prepare_environment(blas_threads=1)
    from training.start import begin
    from utils.device import lack_of_memory_in_words

    with lack_of_memory_in_words(), begin(config) as session:
        train(session)


def train(session: Session) -> None:
    """Optimise the head of a session until its schedule, its time or the user ends it."""
    config, state = session.config, session.state
    schedule, run, head = config.optimization, config.run, state.head

    for iteration in range(state.iteration + 1, schedule.iterations + 1):
        if state.before_step_(iteration):
            session.step.forget()
        state.optimizer.set_learning_rates(iteration)
        head.deforms = iteration > schedule.warm_up
        head.active_sh_degree = min(iteration // schedule.sh_increase_interval, head.architecture.sh_degree)

        views = session.next_views()
        result = session.step(views, state.densifier.observes(iteration))
        state.after_step_(iteration)
        session.report(result, views)
        session.show()

        if session.interruption.is_set() or iteration == schedule.iterations:
            break
        if iteration in run.test_iterations:
            session.evaluate()
        if iteration in run.save_iterations:
            session.save()
        elif iteration in run.checkpoint_iterations:
            session.save_checkpoint()
        elif session.is_time_to_save:
            session.save_checkpoint(is_passing=True)
        if session.is_out_of_time:
            break
    session.finish()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    leave()
