"""Verbs that start something: `run`, `submit`, `worker` and `preview`.

This module is light to import: `run` starts its first processes before it loads the rest.
"""

from contextlib import ExitStack
from typing import Any

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import check_device, new_job, print_notes, worker_count
from search.cli.launchers import (
    CpusPerWorker,
    GpusPerWorker,
    RayAddress,
    local_launcher,
    ray_launcher,
)
from search.cli.options import (
    AS_FILE,
    AnyStudyName,
    Artifacts,
    BeginFrom,
    CorpusName,
    Device,
    Seed,
    StudyFile,
    Threads,
    Timeout,
    Trials,
    Workers,
)
from search.cli.session import Session
from search.errors import BadInput, Interrupted, together


def run(
    session: Session,
    file: StudyFile,
    workers: Workers = None,
    threads: Threads = 1,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
    layout: CorpusFormat = AS_FILE,
    artifacts: Artifacts = None,
    begin_from: BeginFrom = None,
    device: Device = "cpu",
    ray: RayAddress = None,
    cpus_per_worker: CpusPerWorker = None,
    gpus_per_worker: GpusPerWorker = None,
) -> None:
    """Create a study, or continue it, on N workers until its budget is met."""
    if ray is None and (cpus_per_worker is not None or gpus_per_worker is not None):
        raise BadInput("--cpus-per-worker and --gpus-per-worker: only with --ray ADDRESS")
    with ExitStack() as stack:
        if ray is None:
            try:
                launcher = stack.enter_context(local_launcher(session, workers, threads, device))
            except BadInput as error:
                raise _with_mistakes_of_file(
                    error, file, trials, timeout, corpus, seed, layout
                ) from None
        from search.cli import run_study  # slow to load; the workers load at the same time

        spec = run_study.read_with_overrides(file, trials, timeout, corpus, seed, layout)
        if ray is not None:
            resources = (cpus_per_worker, gpus_per_worker)
            cluster = ray_launcher(session, ray, workers, threads, device, *resources)
            launcher = stack.enter_context(cluster)
        job = new_job(session, threads, device)
        workers_here = worker_count(workers, threads) if ray is None else None
        outcome = run_study.run(session, spec, artifacts, begin_from, launcher, job, workers_here)
    options = {
        "--workers": workers,
        "--threads": None if threads == 1 else threads,
        "--trials": trials,
        "--timeout": timeout,
        "--corpus": corpus,
        "--column": layout.column,
        "--separator": layout.separator,
        "--count": layout.count,
        "--drop-unusable": "" if layout.drop_unusable else None,
        "--seed": seed,
        "--device": None if device == "cpu" else device,
        "--ray": ray,
        "--cpus-per-worker": cpus_per_worker,
        "--gpus-per-worker": gpus_per_worker,
    }
    given = {name: str(value) for name, value in options.items() if value is not None}
    run_study.print_result(session, outcome, file, given)


def _with_mistakes_of_file(error: BadInput, *shape: Any) -> BadInput:
    """A mistake found before the file was read, together with those of the file."""
    from search.cli import run_study

    try:
        run_study.read_with_overrides(*shape)
    except BadInput as others:
        return together(others, error)
    return error


def submit(
    session: Session,
    file: StudyFile,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
    layout: CorpusFormat = AS_FILE,
    artifacts: Artifacts = None,
    begin_from: BeginFrom = None,
) -> None:
    """Create a study and return; the workers of `serve`, or `worker`, run its trials."""
    from search.cli import run_study
    from search.cli.common import print_status

    spec = run_study.read_with_overrides(file, trials, timeout, corpus, seed, layout)
    created = run_study.create_or_resume(session, spec, artifacts, begin_from)
    print_status(session, *created, str(file))


def worker(
    session: Session,
    name: AnyStudyName = None,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Start one more worker, for one study, or for every open study of the storage in turn."""
    from search.study import study
    from search.system import file_errors
    from search.worker import process

    check_device(device)
    file_errors.ensure_writable(session.data_dir.all_checkpoints)
    storage = session.open(writing=True)
    stored = None if name is None else study.resolve(storage, name)
    if stored is not None:
        study.ensure_not_moved(stored)
        study.ensure_open(stored)
        study.ensure_artifacts_reachable(stored)
        study.ensure_writable(stored, session.data_dir)
    uid = None if stored is None else stored.uid
    try:
        process.run_here(new_job(session, threads, device, uid))
    except Interrupted:
        if stored is not None:
            study.ensure_open(study.by_uid(storage, stored.uid))
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
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Check a study file, and show its search space and estimated cost; creates nothing."""
    from search.cli import run_study
    from search.study import cost_estimate, study
    from search.terminal import answers

    spec = run_study.read_with_overrides(file, trials, timeout, corpus, seed, layout)
    spec = run_study.with_stored_defaults(session, spec)
    words = print_notes(study.load_corpus(spec, session.data_dir))
    view = cost_estimate.of_file(spec, words, worker_count(workers, threads), threads)
    session.print_result(view.as_document(), answers.preview(view))
