"""Verbs that change what a storage holds: `stop` and `delete`."""

import sys

from search import study
from search.cli.options import StudyName, Yes
from search.cli.steps import answer_status, ask
from search.errors import BadInput
from search.session import Session


def stop(session: Session, name: StudyName) -> None:
    """Ask a study's workers, wherever they are, to finish as on Ctrl-C."""
    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    study.request_stop(storage, stored)
    answer_status(session, storage, stored)


def delete(
    session: Session,
    name: StudyName,
    yes: Yes = False,
) -> None:
    """Delete a study with its trials and checkpoints; the record of its test opening stays."""
    from search.illustration import artifacts

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    if not yes and not sys.stdin.isatty():
        raise BadInput(f"delete {stored.name}: give --yes to delete it for good")
    ask(yes, f"Delete study {stored.name} with all its trials and checkpoints?")
    pictures = artifacts.named_in(storage, stored)
    study.delete_study(storage, stored, session.data_dir)
    artifacts.remove(session.data_dir, pictures)
    session.answer({"study": stored.name, "deleted": True}, f"{stored.name}: deleted")
