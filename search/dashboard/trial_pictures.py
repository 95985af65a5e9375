"""Pictures of the best trials for the dashboard, drawn by the launcher.

Each trial that is the best of its study when it ends gets its schedule and its configuration, and,
where its checkpoint is on this machine, its embedding and twenty samples; its learning curve is
drawn by the dashboard itself. The files are in Optuna's artifact store, and attributes of the study
name them, since Optuna accepts none for a trial that has ended. Their ids follow from study, trial
and kind, so drawing a trial twice, on two hosts or after a crash, gives one of each.

One trial takes a few hundredths of a second, and the number of best trials grows with the logarithm
of the number of trials, so a run takes hardly longer. An error here is a warning in the log.
"""

import contextlib
import io
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from makemore_core.config import TrialConfig
from makemore_core.errors import CheckpointError
from search.dashboard.study_note import write_note
from search.dashboard.winner_marks import write_marks
from search.errors import Interrupted
from search.evaluation.baselines import baselines
from search.figures import numpy_model, trial_figures
from search.paths import DataDir
from search.retry import retry_storage
from search.storage import optuna_studies
from search.storage.database import Storage
from search.study.study import StoredStudy, all_studies, by_uid, config_file, files_of
from search.trials import history
from search.trials.history import AttemptView
from search.trials.status import status

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore

log = logging.getLogger(__name__)

SECONDS_BETWEEN_POLLS = 3.0
MAX_TIME_FRACTION = 0.01
"""The fraction of the time in which the studies of a service are polled, where there are many."""
SAMPLES, SAMPLES_SEED = 20, 1
PREFIX = "dashboard:artifacts:"
"""Of an attribute of a study that names an artifact of one of its trials (optuna-dashboard)."""
KINDS = {
    "embedding.svg": "image/svg+xml",
    "samples.svg": "image/svg+xml",
    "schedule.svg": "image/svg+xml",
    "config.toml": "text/plain",
}


def artifact_store(data_dir: DataDir) -> "FileSystemArtifactStore":
    """The artifact store of this machine, which has the pictures."""
    from optuna.artifacts import FileSystemArtifactStore  # imports boto3 where that is installed

    return FileSystemArtifactStore(data_dir.artifacts())


class PicturePublisher:
    """Publishes the pictures of each new best trial of one study, and the study's note."""

    def __init__(self, storage: Storage, study: StoredStudy, data_dir: DataDir) -> None:
        self._storage, self._study, self._data_dir = storage, study, data_dir
        self._best = float("inf")
        self._last_poll = float("-inf")
        self._stopped = False
        self._fitting: threading.Thread | None = None

    def update(self) -> None:
        """Polls for new best trials every few seconds; never raises."""
        if not self._stopped and time.monotonic() - self._last_poll > SECONDS_BETWEEN_POLLS:
            if self._last_poll == float("-inf"):
                self._fit_baselines()
            elif self._fitting is not None and not self._fitting.is_alive():
                self._fitting = None
                self._try(self._write_note)
            self._last_poll = time.monotonic()
            self._try(self._draw)

    def finish(self, also: Iterable[int] = ()) -> None:
        """The last poll: new best trials, the trials of `also`, and the note."""
        self._try(lambda: self._draw(also))
        self._try(self._write_note)

    def _fit_baselines(self) -> None:
        """Fits the count models for the note in a thread: with a large corpus that takes seconds,
        in which the launcher could not watch its workers."""
        fit = partial(baselines, self._storage, self._study, self._data_dir)
        self._fitting = threading.Thread(target=self._try, args=(fit,), daemon=True)
        self._fitting.start()

    def _write_note(self) -> None:
        self._study = by_uid(self._storage, self._study.uid)  # its number may have changed
        write_marks(self._storage, self._study)
        write_note(self._storage, self._study, self._data_dir)

    def _draw(self, also: Iterable[int] = ()) -> None:
        self._study = by_uid(self._storage, self._study.uid)
        incumbents = history.incumbents(self._storage, self._study, self._best)
        if incumbents:
            write_marks(self._storage, self._study)
        for incumbent in incumbents:
            publish_trial(self._storage, self._study, self._data_dir, incumbent.trial)
            self._best = incumbent.dev_loss
        for trial in also:
            publish_trial(self._storage, self._study, self._data_dir, trial)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Interrupted:  # no run waits for its pictures
            self._stopped = True
        except Exception as error:
            log.warning("no more pictures of study %s (%s)", self._study.name, _first_line(error))
            log.debug("why", exc_info=True)
            self._stopped = True


def _first_line(error: Exception) -> str:
    message = str(error) or type(error).__name__
    return message.splitlines()[0][:200]


class AllStudiesPublisher:
    """A publisher for each open study of a storage, for a service that works on all of them."""

    def __init__(self, storage: Storage, data_dir: DataDir) -> None:
        self._storage, self._data_dir = storage, data_dir
        self._open: dict[str, PicturePublisher] = {}
        self._next_poll = float("-inf")

    def update(self) -> None:
        """Polls every open study every few seconds; one that has closed for the last time."""
        started = time.monotonic()
        if started < self._next_poll:
            return
        self._poll()
        ended = time.monotonic()
        self._next_poll = ended + max(SECONDS_BETWEEN_POLLS, (ended - started) / MAX_TIME_FRACTION)

    def _poll(self) -> None:
        try:
            studies = {each.uid: each for each in all_studies(self._storage)}
            open_uids = {
                uid for uid, each in studies.items() if status(self._storage, each).state == "open"
            }
        except Interrupted:  # no run waits for its pictures
            return
        except Exception as error:
            log.warning(
                "cannot read %s for its pictures (%s)",
                self._storage.redacted_url,
                _first_line(error),
            )
            log.debug("why", exc_info=True)
            return
        for uid in open_uids - self._open.keys():
            self._open[uid] = PicturePublisher(self._storage, studies[uid], self._data_dir)
        for uid in self._open.keys() - open_uids:
            closed = self._open.pop(uid)
            if uid in studies:
                closed.finish()
        for publisher in self._open.values():
            publisher.update()


@retry_storage
def publish_trial(storage: Storage, study: StoredStudy, data_dir: DataDir, trial: int) -> None:
    """Draws those pictures of a trial that are missing, and names them in the study."""
    attempt = history.attempt(storage, study, trial)
    trial_id = history.optuna_trial_id(storage, study, trial)
    if attempt is None or trial_id is None or not attempt.curve:
        return
    published = optuna_studies.system_attributes(storage, study.optuna_id)
    store = artifact_store(data_dir)
    data_dir.artifacts().mkdir(parents=True, exist_ok=True)
    for filename, drawn in _drawings(study, data_dir, attempt):
        artifact_id = artifact_id_of(study, trial, filename)
        key = f"{PREFIX}{trial_id}:{artifact_id}"
        if key not in published:
            store.write(artifact_id, io.BytesIO(drawn.encode()))
            meta = {
                "artifact_id": artifact_id,
                "filename": filename,
                "mimetype": KINDS[filename],
                "encoding": None,
            }
            optuna_studies.set_system_attribute(storage, study.optuna_id, key, json.dumps(meta))


def artifact_id_of(study: StoredStudy, trial: int, filename: str) -> str:
    """The same for the same study, trial and kind of picture."""
    return str(uuid.uuid5(uuid.UUID(study.uid), f"{trial}/{filename}"))


def picture_ids(storage: Storage, study: StoredStudy) -> list[str]:
    """The ids of a study's pictures; to be read before the study is deleted."""
    attributes = optuna_studies.system_attributes(storage, study.optuna_id)
    return [
        json.loads(value)["artifact_id"]
        for key, value in attributes.items()
        if key.startswith(PREFIX) and value != "null"
    ]


def delete_pictures(data_dir: DataDir, ids: Sequence[str]) -> None:
    """Removes pictures from this machine."""
    from optuna.artifacts.exceptions import ArtifactNotFound

    store = artifact_store(data_dir)
    for artifact_id in ids:
        with contextlib.suppress(ArtifactNotFound, FileNotFoundError):
            store.remove(artifact_id)


def _drawings(
    study: StoredStudy, data_dir: DataDir, attempt: AttemptView
) -> Iterator[tuple[str, str]]:
    name = f"trial {attempt.trial}"
    try:
        path = data_dir.checkpoint(study.uid, attempt.trial)
        recorded = attempt.checkpoint_sha256 or ""
        model = files_of(study, data_dir).load(numpy_model.load, path, recorded)
    except CheckpointError as error:
        log.info("trial %d: no embedding and samples: %s", attempt.trial, error)
    else:
        yield "embedding.svg", trial_figures.embedding(name, model)
        words = numpy_model.sample(model, SAMPLES, SAMPLES_SEED)
        yield "samples.svg", trial_figures.samples(name, words)
    yield "schedule.svg", trial_figures.schedule(name, TrialConfig(**attempt.config))
    yield "config.toml", config_file(study, attempt.config) + "\n"
