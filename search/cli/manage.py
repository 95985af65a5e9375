"""Verbs that change what a storage holds: `stop`, `delete` and `move-storage`."""

from typing import Annotated

import typer

from search.cli.common import ask, file_of, print_status
from search.cli.options import StudyName, Yes
from search.cli.session import Session


def stop(session: Session, name: StudyName) -> None:
    """Ask the workers of a study, on every host, to finish as on Ctrl-C."""
    from search.study import study

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    study.request_stop(storage, stored)
    print_status(session, storage, stored, file_of(name))


def delete(
    session: Session,
    name: StudyName,
    yes: Yes = False,
) -> None:
    """Delete a study with its trials and checkpoints; the record of its test opening stays."""
    from search.dashboard import trial_pictures
    from search.study import study

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
    session.print_result({"study": stored.name, "deleted": True}, f"{stored.name}: deleted")


def move_storage(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of a database.")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="The URL of a database that is empty or new.")
    ],
) -> None:
    """Copy all studies of a database into an empty one, compare every row, and close the old ones.

    Between SQLite and PostgreSQL, either way. Model files stay where they are.
    """
    from rich.progress import Progress

    from search.study.move import move
    from search.trials import recovery

    hidden = session.quiet or not session.console.is_terminal
    with Progress(console=session.console, disable=hidden, transient=True) as progress:
        bar = progress.add_task("copying and comparing rows", total=None)
        result = move(
            source,
            target,
            lambda done, total: progress.update(bar, completed=done, total=total),
            recovery.recover_all,
        )
    document = {
        "from": result.source,
        "to": result.target,
        "studies": result.studies,
        "rows": result.rows,
    }
    session.print_result(
        document,
        f"moved to {result.target}: studies {result.studies}, rows {result.rows:,}, each compared\n"
        f"the studies in {result.source} can now only be read; model files stay where they are",
    )
