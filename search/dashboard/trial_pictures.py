"""Pictures of the best trials, where the dashboard shows them; drawn by the launcher.

Each trial that is the best of its study when it ends gets its learning curve, its schedule and its
configuration, and, where its checkpoint is on this machine, its embedding and twenty samples. The
files lie in Optuna's artifact store; what names them are attributes of the study, since Optuna
accepts none for a trial that has ended. Their ids follow from study, trial and kind, so drawing a
trial twice, on two hosts or after a crash, leaves one of each.

Drawing one trial takes a few hundredths of a second, and a study has few records (about the
logarithm of its trials), so this lengthens no run noticeably. It never fails one either.
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
from search.study.study import StoredStudy, all_studies, config_file, files_of
from search.trials import history
from search.trials.history import AttemptView
from search.trials.status import status

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 3.0
SAMPLES, SAMPLES_SEED = 20, 1
PREFIX = "dashboard:artifacts:"
"""Of an attribute of a study that names an artifact of one of its trials (optuna-dashboard)."""
KINDS = {
    "learning-curve.svg": "image/svg+xml",
    "embedding.svg": "image/svg+xml",
    "samples.svg": "image/svg+xml",
    "schedule.svg": "image/svg+xml",
    "config.toml": "text/plain",
}


def artifact_store(data_dir: DataDir) -> "FileSystemArtifactStore":
    """Where this machine keeps pictures."""
    from optuna.artifacts import FileSystemArtifactStore  # it takes boto3 along, where that is

    return FileSystemArtifactStore(data_dir.artifacts())


class PicturePublisher:
    """Draws each new best trial of one study now and then while others train; keeps its note."""

    def __init__(self, storage: Storage, study: StoredStudy, data_dir: DataDir) -> None:
        self._storage, self._study, self._data_dir = storage, study, data_dir
        self._best = float("inf")
        self._looked = float("-inf")
        self._gave_up = False
        self._counting: threading.Thread | None = None

    def update(self) -> None:
        """Looks for new best trials every few seconds; never raises."""
        if not self._gave_up and time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            if self._looked == float("-inf"):
                self._count()
            elif self._counting is not None and not self._counting.is_alive():
                self._counting = None
                self._try(self._write_note)
            self._looked = time.monotonic()
            self._try(self._draw)

    def finish(self, also: Iterable[int] = ()) -> None:
        """The last look, the pictures of trials that are more than a record, and the note."""
        self._try(lambda: self._draw(also))
        self._try(self._write_note)

    def _count(self) -> None:
        """Has the count models fitted that the note names: of a large corpus that takes seconds,
        which whoever looks after workers does not have."""
        fit = partial(baselines, self._storage, self._study, self._data_dir)
        self._counting = threading.Thread(target=self._try, args=(fit,), daemon=True)
        self._counting.start()

    def _write_note(self) -> None:
        write_marks(self._storage, self._study)
        write_note(self._storage, self._study, self._data_dir)

    def _draw(self, also: Iterable[int] = ()) -> None:
        records = history.incumbents(self._storage, self._study, self._best)
        if records:
            write_marks(self._storage, self._study)
        for record in records:
            publish_trial(self._storage, self._study, self._data_dir, record.trial)
            self._best = record.dev_loss
        for trial in also:
            publish_trial(self._storage, self._study, self._data_dir, trial)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Interrupted:  # nobody waits for pictures
            self._gave_up = True
        except Exception as error:
            log.warning("no more pictures of study %s (%s)", self._study.name, _in_a_line(error))
            log.debug("why", exc_info=True)
            self._gave_up = True


def _in_a_line(error: Exception) -> str:
    told = str(error) or type(error).__name__
    return told.splitlines()[0][:200]


class AllStudiesPublisher:
    """The illustrators of a whole storage, for a service that works on whatever study is open."""

    def __init__(self, storage: Storage, data_dir: DataDir) -> None:
        self._storage, self._data_dir = storage, data_dir
        self._open: dict[str, PicturePublisher] = {}
        self._looked = float("-inf")

    def update(self) -> None:
        """As Illustrator's, for every open study; one that is open no more gets its last look."""
        if time.monotonic() - self._looked <= SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        try:
            found = {each.uid: each for each in all_studies(self._storage)}
            going = {
                uid for uid, each in found.items() if status(self._storage, each).state == "open"
            }
        except Interrupted:  # nobody waits for pictures
            return
        except Exception as error:
            log.warning("no look at %s (%s)", self._storage.redacted_url, _in_a_line(error))
            log.debug("why", exc_info=True)
            return
        for uid in going - self._open.keys():
            self._open[uid] = PicturePublisher(self._storage, found[uid], self._data_dir)
        for uid in self._open.keys() - going:
            ended = self._open.pop(uid)
            if uid in found:
                ended.finish()
        for illustrator in self._open.values():
            illustrator.update()


@retry_storage
def publish_trial(storage: Storage, study: StoredStudy, data_dir: DataDir, trial: int) -> None:
    """Draws what is not yet there of one trial, and names it in the study."""
    attempt = history.attempt(storage, study, trial)
    trial_id = history.optuna_trial_id(storage, study, trial)
    if attempt is None or trial_id is None or not attempt.curve:
        return
    named = optuna_studies.system_attributes(storage, study.optuna_id)
    store = artifact_store(data_dir)
    data_dir.artifacts().mkdir(parents=True, exist_ok=True)
    for filename, drawn in _drawings(study, data_dir, attempt):
        artifact_id = artifact_id_of(study, trial, filename)
        key = f"{PREFIX}{trial_id}:{artifact_id}"
        if key not in named:
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
    """The ids of a study's pictures; known only for as long as the study is."""
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
    yield "learning-curve.svg", trial_figures.learning_curve(name, attempt.curve)
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
