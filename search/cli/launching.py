"""Verbs that start something: `run`, `submit`, `worker` and `preview`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from search import creation, results, stores, study
from search.cli.launchers import (
    CpusPerWorker,
    GpusPerWorker,
    RayAddress,
    local_launcher,
    ray_launcher,
)
from search.cli.options import (
    COMMON,
    AnyStudyName,
    Artifacts,
    CorpusName,
    Device,
    Seed,
    StudyFile,
    Threads,
    Timeout,
    Trials,
    Workers,
)
from search.cli.steps import answer_status, check_device, new_job, shown_progress, worker_count
from search.display import farewell
from search.errors import BadInput, Interrupted
from search.progress import Progress
from search.session import Session
from search.storage import Storage
from search.study import StoredStudy
from search.study_file import StudySpec, parse_duration, read

if TYPE_CHECKING:
    from search.job import Job
    from search.supervisor import Launcher


def run(
    session: Session,
    file: StudyFile,
    workers: Workers = None,
    threads: Threads = 1,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
    artifacts: Artifacts = None,
    device: Device = "cpu",
    ray: RayAddress = None,
    cpus_per_worker: CpusPerWorker = None,
    gpus_per_worker: GpusPerWorker = None,
) -> None:
    """Create a study, or go on with it, on N workers until its budget is met."""
    spec = _shaped(read(file), trials, timeout, corpus, seed)
    if ray is not None:
        place = ray_launcher(
            session, ray, workers, threads, device, cpus_per_worker, gpus_per_worker
        )
    elif cpus_per_worker is None and gpus_per_worker is None:
        place = local_launcher(session, spec.study.name, workers, threads, device)
    else:
        raise BadInput("--cpus-per-worker and --gpus-per-worker: only with --ray ADDRESS")
    with place as launcher:
        storage, stored = _create_or_resume(session, spec, artifacts)
        shown = shown_progress(session, storage, stored)
        job = new_job(session, threads, device)
        ended_well = _supervise(session, storage, stored, launcher, job, shown)
    if not ended_well:
        raise _interrupted(session, storage, stored)
    answer_status(session, storage, stored)
    _say_what_next(session, storage, stored, shown)


def submit(
    session: Session,
    file: StudyFile,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
    artifacts: Artifacts = None,
) -> None:
    """Create a study and return; whoever serves the storage works on it."""
    spec = _shaped(read(file), trials, timeout, corpus, seed)
    storage, stored = _create_or_resume(session, spec, artifacts)
    answer_status(session, storage, stored)


def worker(
    session: Session,
    name: AnyStudyName = None,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """One more worker, for one study, or for every open study of the storage in turn."""
    from search import worker as workers

    check_device(device)
    storage = session.open(writing=True)
    stored = None if name is None else study.resolve(storage, name)
    if stored is not None:
        study.refuse_moved(stored)
        study.refuse_closed(stored)
        study.refuse_unreachable(stored)
    uid = None if stored is None else stored.uid
    try:
        workers.run_here(new_job(session, threads, device, uid))
    except Interrupted:
        if stored is not None:
            study.refuse_closed(study.by_uid(storage, stored.uid))
        raise


def preview(
    session: Session,
    file: StudyFile,
    workers: Workers = None,
    threads: Threads = 1,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
) -> None:
    """Check a study file and show its space and its cost; creates nothing."""
    from makemore_core.contexts import Data
    from search import auto_range, show
    from search import preview as costs

    spec = _shaped(read(file), trials, timeout, corpus, seed)
    words = study.load_corpus(spec, session.data_dir)
    spec = auto_range.resolved(spec, words)
    data = Data.of(words, spec.study.split_seed)
    view = costs.preview(spec, data, worker_count(workers, threads), threads)
    session.answer(asdict(view), show.preview(view))


def _shaped(
    spec: StudySpec,
    trials: int | None,
    timeout: str | None,
    corpus: str | None,
    seed: int | None,
) -> StudySpec:
    """A study file with what the command line replaces."""
    if timeout is not None:
        try:
            timeout = parse_duration(timeout)
        except ValueError as error:
            raise BadInput(f"--timeout: {error}") from None
    if corpus is not None and Path(corpus).is_file():
        corpus = str(Path(corpus).absolute())
    spec = spec.with_values("budget", trials=trials, timeout=timeout)
    return spec.with_values("study", corpus=corpus, seed=seed)


def _create_or_resume(
    session: Session, spec: StudySpec, artifacts: str | None
) -> tuple[Storage, StoredStudy]:
    words = study.load_corpus(spec, session.data_dir)
    checked = None if artifacts is None else stores.checked(artifacts)
    storage = session.create()
    return storage, creation.create_or_resume(storage, spec, words, session.data_dir, checked)


def _supervise(
    session: Session,
    storage: Storage,
    stored: StoredStudy,
    launcher: "Launcher",
    job: "Job",
    shown: Progress,
) -> bool:
    """Has workers at work until the budget is met; False if something interrupted them."""
    from search.illustration.artifacts import Illustrator
    from search.supervisor import OneStudy, Supervisor

    illustrator = Illustrator(storage, stored, session.data_dir)

    def watch() -> None:
        shown.update()
        illustrator.update()

    supervisor = Supervisor(
        storage, OneStudy(storage, stored), launcher, job, watch, shown.stopping
    )
    with shown:
        try:
            supervisor.run()
        except Interrupted:
            return False
        finally:
            shown.update(last=True)
            illustrator.finish()
    return True


def _interrupted(session: Session, storage: Storage, stored: StoredStudy) -> Interrupted:
    """How an interrupted run ends; StudyClosed if a `test` is what ended it."""
    if session.json:
        answer_status(session, storage, stored)
    study.refuse_closed(study.by_uid(storage, stored.uid))
    return Interrupted(
        f"study {stored.name}: interrupted; the same command goes on where it stopped"
    )


def _say_what_next(
    session: Session, storage: Storage, stored: StoredStudy, shown: Progress
) -> None:
    """To people only; standard output holds the answer."""
    if session.quiet or session.json:
        return
    verbs = ("best", "report", "confirm", "test")
    view = results.status(storage, stored)
    text = farewell(view, stored, shown.others, verbs, _same_place(session))
    session.console.print(text, markup=False)


def _same_place(session: Session) -> str:
    """The options that lead another command to the same place; a URL may hold a password."""
    root = session.data_dir.root
    told = "" if root == COMMON["data_dir"][1] else f" --data-dir {shlex.quote(str(root))}"
    return told + (
        "" if session.storage_url == session.data_dir.default_storage else " --storage …"
    )
