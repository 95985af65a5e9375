"""Verbs that change what a storage holds: `stop`, `delete` and `move-storage`."""

from typing import Annotated

import typer

from search.cli.common import answer_status, ask, file_of
from search.cli.options import StudyName, Yes
from search.cli.session import Session
from search.study import study


def stop(session: Session, name: StudyName) -> None:
    """Ask a study's workers, wherever they are, to finish as on Ctrl-C."""
    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    study.request_stop(storage, stored)
    answer_status(session, storage, stored, file_of(name))


def delete(
    session: Session,
    name: StudyName,
    yes: Yes = False,
) -> None:
    """Delete a study with its trials and checkpoints; the record of its test opening stays."""
    from search.dashboard import trial_pictures

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    ask(
        yes,
        f"Delete study {stored.name} with all its trials and checkpoints?",
        f"delete {stored.name}: give --yes to delete it for good",
    )
    pictures = trial_pictures.picture_ids(storage, stored)
    study.delete_study(storage, stored, session.data_dir)
    if stored.moved_to is None:
        trial_pictures.delete_pictures(session.data_dir, pictures)
    session.answer({"study": stored.name, "deleted": True}, f"{stored.name}: deleted")


def move_storage(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of a database.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Of one without studies, or none.")],
) -> None:
    """Copy all studies of a database into an empty one, compare every row, and shut the old ones.

    Between SQLite and PostgreSQL, either way. Model files stay where they are.
    """
    from rich.progress import Progress

    from search.study import move
    from search.trials import recovery

    hidden = session.quiet or not session.console.is_terminal
    with Progress(console=session.console, disable=hidden, transient=True) as shown:
        bar = shown.add_task("copying and comparing rows", total=None)
        moved = move.move(
            source,
            target,
            lambda done, of: shown.update(bar, completed=done, total=of),
            recovery.recover_all,
        )
    document = {
        "from": moved.source,
        "to": moved.target,
        "studies": moved.studies,
        "rows": moved.rows,
    }
    session.answer(
        document,
        f"in {moved.target} now: studies {moved.studies}, rows {moved.rows:,}, each compared\n"
        f"what {moved.source} keeps of them is only to look at; model files stay where they are",
    )
