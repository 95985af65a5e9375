"""Verbs that tell what can be believed: `confirm`, `test` and `replay`."""

from dataclasses import asdict
from typing import Annotated

import typer

from search.cli.common import ask, worker_count
from search.cli.options import StudyName, Threads, Workers, Yes
from search.cli.session import Session


def confirm(
    session: Session,
    name: StudyName,
    top: Annotated[int, typer.Option(min=1, help="Number of best trials to retrain.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Number of fresh seeds for each.")] = 3,
    ensemble: Annotated[
        int | None,
        typer.Option(
            min=0, help="Maximum number of models in an ensemble. Default: as the study file says."
        ),
    ] = None,
    workers: Workers = None,
    threads: Threads = 1,
) -> None:
    """Retrain the best configurations on fresh seeds, and name the winner by its mean dev loss."""
    from search.dashboard.trial_pictures import PicturePublisher
    from search.evaluation.confirm import run as confirm_study
    from search.study import study
    from search.terminal import answers

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    study.ensure_not_moved(stored)
    emit = (lambda line: None) if session.quiet else session.console.print
    confirmation = confirm_study(
        storage,
        stored,
        session.data_dir,
        top,
        seeds,
        ensemble,
        worker_count(workers, threads),
        threads,
        emit,
    )
    candidates = [candidate["trial"] for candidate in confirmation.candidates]
    PicturePublisher(storage, stored, session.data_dir).finish(also=candidates)
    session.print_result(asdict(confirmation), answers.confirmation(confirmation))


def test(
    session: Session,
    name: StudyName,
    yes: Yes = False,
) -> None:
    """Open the test split, once, for a study's winner; later calls show the recorded answer."""
    from search.dashboard.trial_pictures import PicturePublisher
    from search.evaluation import final_test, winner
    from search.study import study
    from search.terminal import answers
    from search.trials import results

    storage = session.open()
    stored = study.resolve(storage, name)
    if final_test.recorded(storage, stored) is None:
        study.ensure_not_moved(stored)
        storage = session.open(writing=True)
        won = winner.winner(storage, stored, session.data_dir)
        chosen = results.require_best(storage, stored).ensemble
        if chosen is not None and not chosen.wins and not session.quiet:
            session.console.print(winner.describe_ensemble(chosen), highlight=False, markup=False)
        ask(
            yes,
            f"This opens the test split for study {stored.name}, once and for good, with "
            f"{won.description} (dev loss {won.dev_loss:.4f}), and closes the study. Go on?",
            f"test {stored.name}: give --yes to open the test split, once and for good, with "
            f"{won.description} (dev loss {won.dev_loss:.4f})",
        )
    result = final_test.open_and_evaluate(storage, stored, session.data_dir)
    if result.first_time:
        PicturePublisher(storage, stored, session.data_dir).finish()
    session.print_result(asdict(result), answers.test(result))


def replay(
    session: Session,
    name: StudyName,
    number: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
) -> None:
    """Train a trial again, with its recorded seed and threads, and compare the learning curves."""
    from search.evaluation.replay import replay as replay_trial
    from search.study import study
    from search.terminal import answers

    storage = session.open()
    view = replay_trial(storage, study.resolve(storage, name), number, session.data_dir)
    session.print_result(asdict(view), answers.replay(number, view))
