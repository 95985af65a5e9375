"""The winner's mark, and the confirmed means: user attributes of trials that have ended.

optuna-dashboard shows them as columns, like the attributes that a trial gets at its end. They are
written when they change, by the process that draws pictures. A test score is never among them.
"""

from typing import Any

from search.retry import retry_storage
from search.storage import optuna_writer
from search.storage.database import Storage
from search.storage.optuna_reader import CONFIRMED, MARKS, SEEDS, WINNER, read_marks
from search.study.study import StoredStudy
from search.trials import confirmations, history, results


@retry_storage
def write_marks(storage: Storage, study: StoredStudy) -> None:
    """Sets the mean of confirmed trials and the mark of the winner; removes them from others."""
    expected = _expected(storage, study)
    with storage.read() as connection:
        present = read_marks(connection, study.optuna_id)
    if present == expected:
        return
    with storage.write() as connection:
        for trial_id in expected.keys() | present.keys():
            own = expected.get(trial_id, {})
            others = [name for name in MARKS if name not in own]
            optuna_writer.drop_attributes(connection, trial_id, others)
            optuna_writer.set_attributes(storage, connection, trial_id, own)


def _expected(storage: Storage, study: StoredStudy) -> dict[int, dict[str, Any]]:
    """The marks as they should be, by Optuna's id of the trial."""
    by_number: dict[int, dict[str, Any]] = {
        each.trial: {CONFIRMED: each.dev_loss_mean, SEEDS: each.seeds}
        for each in confirmations.candidates(storage, study)
    }
    best = results.best(storage, study)
    if best is not None:
        mark = "confirmed" if best.confirmed else "not confirmed"
        by_number.setdefault(best.trial, {})[WINNER] = mark
    ids = {number: history.optuna_trial_id(storage, study, number) for number in by_number}
    return {found: by_number[number] for number, found in ids.items() if found is not None}
