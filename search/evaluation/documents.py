"""JSON documents that the command line and the service share."""

from dataclasses import asdict
from typing import Any

from search.evaluation.baselines import stored_baselines
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.trials import changes, jobs
from search.trials.status import StatusView, status


def status_document(
    storage: Storage, study: StoredStudy, view: StatusView | None = None
) -> dict[str, Any]:
    """A study's status, with the best count model as far as it is known, the jobs under way, and
    what was changed over HTTP."""
    others = stored_baselines(storage, study)
    return asdict(view or status(storage, study)) | {
        "count_model": None if others is None else others.count_model,
        "jobs": [asdict(job) for job in jobs.of_study(storage, study)],
        "changes": [asdict(change) for change in changes.of_study(storage, study)],
    }
