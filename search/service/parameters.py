"""Parameters that several routes share."""

from typing import Annotated

from fastapi import Depends, Path

from search.service.context import Context
from search.service.watch import no_such_study
from search.study import study
from search.study.study import StoredStudy

StudyName = Annotated[str, Path(min_length=1, max_length=200, description="A study's name.")]


def _stored(context: Context, name: StudyName) -> StoredStudy:
    stored = study.find(context.storage, name)
    if stored is None:
        raise no_such_study(name)
    return stored


Study = Annotated[StoredStudy, Depends(_stored)]
"""The study of a path's `name`; 404 if there is none."""
