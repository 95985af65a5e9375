"""The command line: parses, calls, prints, and sets the exit status."""

import functools
import inspect
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from makemore_core.errors import CoreError
from search import lessons, results, study
from search.display import farewell, one_line
from search.errors import BadInput, Interrupted, SearchError
from search.progress import LEAVES, Progress
from search.session import Session
from search.storage import Storage
from search.study import StoredStudy
from search.study_file import StudySpec, parse_duration, read, read_config

if TYPE_CHECKING:
    from search.web.dashboard import Access

app = typer.Typer(
    name="makemore-search",
    help="Hyperparameter search for the makemore MLP (Bengio et al. 2003).",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

COMMON: dict[str, tuple[Any, Any]] = {
    "data_dir": (
        Annotated[
            Path,
            typer.Option(
                envvar="MAKEMORE_SEARCH_DATA_DIR", help="Where this machine keeps things."
            ),
        ],
        Path("runs"),
    ),
    "storage": (
        Annotated[
            str | None,
            typer.Option(
                envvar="MAKEMORE_SEARCH_STORAGE",
                help="SQLAlchemy URL of the study database. Default: studies.db in the data dir.",
            ),
        ],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="One JSON document, only that.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="No progress display.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Tracebacks.")], False),
}


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a function a verb: it gets the common options as a Session, its first argument."""
    own = list(inspect.signature(function).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in COMMON.items()
    ]

    @functools.wraps(function)
    def called(**options: Any) -> None:
        session = Session.of(**{name: options.pop(name) for name in COMMON})
        try:
            function(session, **options)
        except BrokenPipeError:  # whoever read the answer has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    called.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*own, *common)}
    return app.command()(called)


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study file.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its file.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Default: cores divided by threads.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Replaces the file's number of trials.")]
Timeout = Annotated[
    str | None, typer.Option(help="Replaces the file's timeout, such as 90s or 2m.")
]
CorpusName = Annotated[str | None, typer.Option("--corpus", help="Replaces the file's corpus.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Replaces the file's seed.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]


@verb
def run(
    session: Session,
    file: StudyFile,
    workers: Workers = None,
    threads: Threads = 1,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
    device: Device = "cpu",
) -> None:
    """Create a study, or go on with it, on N local workers until its budget is met."""
    from search.illustration.artifacts import Illustrator
    from search.job import Job
    from search.supervisor import OneStudy, Supervisor

    _check_device(device)
    spec = _shaped(read(file), trials, timeout, corpus, seed)
    storage, stored = _create_or_resume(session, spec)
    job = Job(session.storage_url, str(session.data_dir.root.resolve()), None, threads, device)
    illustrator = Illustrator(storage, stored, session.data_dir)

    def watch() -> None:
        shown.update()
        illustrator.update()

    with _progress(session, storage, stored) as shown:
        work = OneStudy(storage, stored)
        supervisor = Supervisor(storage, work, session.data_dir, job, watch, shown.stopping)
        try:
            supervisor.run(workers or max(1, (os.cpu_count() or 1) // threads))
        except Interrupted:
            if session.json:
                _answer_status(session, storage, stored)
            study.refuse_closed(study.by_uid(storage, stored.uid))
            raise Interrupted(
                f"study {stored.name}: interrupted; the same command goes on where it stopped"
            ) from None
        finally:
            shown.update(last=True)
            illustrator.finish()
    _answer_status(session, storage, stored)
    _say_what_next(session, storage, stored, shown)


@verb
def submit(
    session: Session,
    file: StudyFile,
    trials: Trials = None,
    timeout: Timeout = None,
    corpus: CorpusName = None,
    seed: Seed = None,
) -> None:
    """Create a study and return; whoever serves the storage works on it."""
    spec = _shaped(read(file), trials, timeout, corpus, seed)
    storage, stored = _create_or_resume(session, spec)
    _answer_status(session, storage, stored)


@verb
def worker(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[STUDY]")] = None,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """One more worker, for one study, or for every open study of the storage in turn."""
    from search import worker as workers
    from search.job import Job

    _check_device(device)
    storage = session.open(writing=True)
    stored = None if name is None else study.resolve(storage, name)
    if stored is not None:
        study.refuse_closed(stored)
    uid = None if stored is None else stored.uid
    root = str(session.data_dir.root.resolve())
    try:
        workers.run_here(Job(session.storage_url, root, uid, threads, device))
    except Interrupted:
        if stored is not None:
            study.refuse_closed(study.by_uid(storage, stored.uid))
        raise


@verb
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
    view = costs.preview(spec, data, workers or max(1, (os.cpu_count() or 1) // threads), threads)
    session.answer(asdict(view), show.preview(view))


@verb
def status(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[STUDY]")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it.")] = False,
) -> None:
    """How a study stands; without STUDY a list of all."""
    storage = session.open()
    if name is None:
        views = [
            results.status(storage, study.resolve(storage, each))
            for each in results.all_names(storage)
        ]
        text = "\n".join(one_line(view) for view in views) or "no studies yet"
        session.answer([asdict(view) for view in views], text)
        return
    stored = study.resolve(storage, name)
    if watch:
        _watch(session, storage, stored)
    _answer_status(session, storage, stored)


@verb
def trials(
    session: Session,
    name: StudyName,
    format: Annotated[str | None, typer.Option(help="json or csv.")] = None,
) -> None:
    """Every trial of a study, flat."""
    from search import show

    if format not in (None, "json", "csv"):
        raise BadInput(f"--format {format}: give json or csv")
    storage = session.open()
    views = results.trials(storage, study.resolve(storage, name))
    session = replace(session, json=session.json or format == "json")
    text = show.trials_csv(views) if format == "csv" else show.trials(views)
    session.answer([asdict(view) for view in views], text)


@verb
def best(
    session: Session,
    name: StudyName,
    toml: Annotated[bool, typer.Option("--toml", help="As the file that `train` takes.")] = False,
) -> None:
    """The best complete trial of a study."""
    from search import show

    storage = session.open()
    stored = study.resolve(storage, name)
    view = results.require_best(storage, stored)
    text = study.config_file(stored, view.config) if toml else show.best(view)
    session.answer(asdict(view), text)


@verb
def confirm(
    session: Session,
    name: StudyName,
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds for each.")] = 3,
    ensemble: Annotated[int, typer.Option(min=0, help="Most models of an ensemble.")] = 0,
    workers: Workers = None,
    threads: Threads = 1,
) -> None:
    """Retrain the best configurations on fresh seeds, and name the winner by mean dev loss."""
    from search import confirmation, show
    from search.illustration.artifacts import Illustrator

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    at_once = workers or max(1, (os.cpu_count() or 1) // threads)
    tell = (lambda line: None) if session.quiet else session.console.print
    view = confirmation.run(
        storage, stored, session.data_dir, top, seeds, ensemble, at_once, threads, tell
    )
    drawn = [candidate["trial"] for candidate in view.candidates]
    Illustrator(storage, stored, session.data_dir).finish(also=drawn)
    session.answer(asdict(view), show.confirmation(view))


@verb
def test(
    session: Session,
    name: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Open the test split, once, for a study's winner; ever after show the recorded answer."""
    from search import final_test, show
    from search.illustration.artifacts import Illustrator

    storage = session.open()
    stored = study.resolve(storage, name)
    if final_test.recorded(storage, stored) is None:
        storage = session.open(writing=True)
        winner = results.require_best(storage, stored)
        _ask(
            yes,
            f"This opens the test split for study {stored.name}, once and for good, with trial "
            f"{winner.trial} (dev loss {winner.dev_loss:.4f}), and closes the study. Go on?",
        )
    result = final_test.test(storage, stored, session.data_dir)
    if result.first_time:
        Illustrator(storage, stored, session.data_dir).finish()
    session.answer(asdict(result), show.test(result))


@verb
def replay(
    session: Session, name: StudyName, number: Annotated[int, typer.Argument(min=0)]
) -> None:
    """Train a trial again, with its recorded seed and threads, and compare the curves."""
    from search import replay as again

    storage = session.open()
    view = again.replay(storage, study.resolve(storage, name), number, session.data_dir)
    told = "identical" if view.identical else "DIFFERENT"
    session.answer(
        asdict(view),
        f"trial {number}: {len(view.recorded)} evaluations, {told} to what was recorded",
    )


@verb
def train(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="CONFIG.toml")],
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    save: Annotated[Path | None, typer.Option(help="Write the model here.")] = None,
) -> None:
    """Train one configuration, without a study."""
    from makemore_core import checkpoint, trainer
    from makemore_core import corpus as corpora
    from makemore_core.contexts import Data
    from makemore_core.warm_up import warm_up
    from search import show

    _check_device(device)
    section, config = read_config(file)
    if save is not None and save.is_dir():
        raise BadInput(f"--save {save}: is a directory; give a file")
    if save is not None and not (save.parent.is_dir() and os.access(save.parent, os.W_OK)):
        raise BadInput(f"--save {save}: its directory does not exist or cannot be written")
    words = corpora.load(section.corpus, session.data_dir.root, dedupe=section.dedupe)
    console = session.console

    def tell(evaluation: trainer.Evaluation) -> None:
        if not session.quiet:
            console.print(
                f"{evaluation.seconds:7.1f}s  {evaluation.examples:>12,} examples  "
                f"dev {evaluation.dev_loss:.4f}  train {evaluation.train_loss:.4f}"
            )

    warm_up()
    result = trainer.train(
        config,
        Data.of(words, section.split_seed),
        seed,
        threads=threads,
        device=device,
        on_evaluation=tell,
    )
    if save is not None:
        checkpoint.save(save, result.model, {"seed": seed, "dev_loss": result.dev_loss})
    session.answer(show.training_document(result), show.training(result))


@verb
def baseline(
    session: Session,
    corpus: Annotated[str, typer.Option(help="A corpus by name or path.")],
    order: Annotated[int, typer.Option(min=1, help="Characters of an n-gram.")] = 2,
    split_seed: Annotated[int, typer.Option(min=0)] = 42,
) -> None:
    """Count models to beat: the bigram, and interpolated Kneser-Ney n-grams."""
    from makemore_core import corpus as corpora
    from makemore_core import ngram
    from search import show

    words = corpora.load(corpus, session.data_dir.root)
    view = ngram.baseline(words, split_seed, order)
    session.answer(asdict(view), show.baseline(view))


@verb
def sample(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[STUDY]")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A model that `train` saved.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000_000)] = 20,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: a new one each time.")] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 tamer, above 1 wilder.")] = 1.0,
    prefix: Annotated[str, typer.Option(help="What every word begins with.")] = "",
    new: Annotated[bool, typer.Option("--new", help="Only words that the corpus lacks.")] = False,
    corpus: Annotated[
        str | None, typer.Option(help="For --checkpoint with --new: by name or path.")
    ] = None,
) -> None:
    """New words from a study's best model, or from a saved one."""
    from makemore_core import checkpoint as checkpoints
    from makemore_core import corpus as corpora
    from makemore_core import sampling

    if (name is None) == (checkpoint is None):
        raise BadInput("sample: give either a STUDY or --checkpoint FILE")
    if (corpus is not None) != (checkpoint is not None and new):
        raise BadInput("sample: --checkpoint FILE with --new needs --corpus, and nothing else does")
    words: tuple[str, ...] = ()
    if checkpoint is not None:
        model, _ = checkpoints.load(checkpoint)
        if corpus is not None:
            words = corpora.load(corpus, session.data_dir.root).words
    else:
        storage = session.open()
        stored = study.resolve(storage, str(name))
        winner = results.require_best(storage, stored)
        path = session.data_dir.checkpoint(stored.uid, winner.trial)
        model = study.load_model(path, winner.checkpoint_sha256)
        words = study.kept_corpus(stored, session.data_dir).words if new else ()
    chosen = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    drawn = sampling.sample(
        model, number, chosen, temperature=temperature, prefix=prefix, exclude=frozenset(words)
    )
    session.answer(drawn, "\n".join(drawn))


@verb
def corpus(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME_OR_PATH")],
    split_seed: Annotated[int, typer.Option(min=0)] = 42,
    block_size: Annotated[int, typer.Option(min=1, max=64)] = 3,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Drop repeated words.")] = False,
) -> None:
    """What is in a corpus."""
    from makemore_core import corpus as corpora
    from search import show

    words = corpora.load(name, session.data_dir.root, dedupe=dedupe)
    view = show.corpus_document(words, split_seed, block_size)
    session.answer(view, show.corpus(view))


@verb
def stop(session: Session, name: StudyName) -> None:
    """Ask a study's workers, wherever they are, to finish as on Ctrl-C."""
    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    study.request_stop(storage, stored)
    _answer_status(session, storage, stored)


@verb
def delete(
    session: Session,
    name: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a study with its trials and checkpoints; the record of its test opening stays."""
    from search.illustration import artifacts

    storage = session.open(writing=True)
    stored = study.resolve(storage, name)
    if not yes and not sys.stdin.isatty():
        raise BadInput(f"delete {stored.name}: give --yes to delete it for good")
    _ask(yes, f"Delete study {stored.name} with all its trials and checkpoints?")
    pictures = artifacts.named_in(storage, stored)
    study.delete_study(storage, stored, session.data_dir)
    artifacts.remove(session.data_dir, pictures)
    session.answer({"study": stored.name, "deleted": True}, f"{stored.name}: deleted")


Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535)]
Writable = Annotated[bool, typer.Option("--writable", help="Allow changes.")]
TokenFile = Annotated[Path | None, typer.Option(help="A file with the token to enter with.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="One more name by which it may be addressed.")
]


@verb
def serve(
    session: Session,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "cpu",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    writable: Writable = False,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
) -> None:
    """The service: the dashboard, and N supervised workers for every open study."""
    from search import serve as service
    from search.job import Job

    _check_device(device)
    access = _access(host, port, writable, token_file, allow_host)
    job = Job(session.storage_url, str(session.data_dir.root.resolve()), None, threads, device)
    service.serve(
        session.create(),
        session.data_dir,
        job,
        access,
        workers or max(1, (os.cpu_count() or 1) // threads),
        session.console.print,
    )


@verb
def report(
    session: Session,
    name: StudyName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: STUDY-report.html here.")
    ] = None,
) -> None:
    """One self-contained page with everything that a study found."""
    from search.reporting import report as reports

    storage = session.open()
    path = reports.report(storage, study.resolve(storage, name), session.data_dir, output)
    session.answer({"path": str(path)}, str(path))


@verb
def dashboard(
    session: Session,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    writable: Writable = False,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
) -> None:
    """The Optuna dashboard over the storage."""
    from search.web import dashboard as boards

    access = _access(host, port, writable, token_file, allow_host)
    storage = session.open()
    server = boards.make_server(storage, session.data_dir, access)
    session.console.print(
        f"dashboard of {storage.told} on {boards.address(server, access)}"
        f"{'?token=TOKEN' if access.token else ''} (Ctrl-C ends it)"
    )
    server.run()


def _access(
    host: str, port: int, writable: bool, token_file: Path | None, allow_host: list[str] | None
) -> "Access":
    from search.web import dashboard as boards

    token = None if token_file is None else boards.read_token(token_file)
    return boards.Access(host, port, writable, token, tuple(allow_host or ()))


for lesson in lessons.VERBS:
    verb(lesson)


def main() -> int:
    """Runs the program; returns the exit status. A user sees one line, never a traceback."""
    try:
        status = app(standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:  # bad usage
        return _failed(error.format_message(), error.exit_code)
    except SearchError as error:
        return _failed(str(error), error.exit_status)
    except CoreError as error:
        return _failed(str(error), BadInput.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", Interrupted.exit_status)
    except Exception as error:  # noqa: BLE001  the last resort
        return _failed(f"{type(error).__name__}: {error}; --debug shows where", 1)


def _failed(message: str, status: int) -> int:
    if "--debug" in sys.argv:
        traceback.print_exc()
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


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


def _create_or_resume(session: Session, spec: StudySpec) -> tuple[Storage, StoredStudy]:
    words = study.load_corpus(spec, session.data_dir)
    storage = session.create()
    return storage, study.create_or_resume(storage, spec, words, session.data_dir)


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"--device {device}: not to be had here ({reason})") from None


def _ask(yes: bool, question: str) -> None:
    """Asks when a person is there to answer."""
    if yes or not sys.stdin.isatty():
        return
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was done")


def _answer_status(session: Session, storage: Storage, stored: StoredStudy) -> None:
    view = results.status(storage, study.by_uid(storage, stored.uid))
    session.answer(asdict(view), one_line(view))


def _progress(session: Session, storage: Storage, stored: StoredStudy, **options: Any) -> Progress:
    return Progress(
        storage,
        stored,
        session.console,
        quiet=session.quiet,
        data_dir=session.data_dir,
        **options,
    )


def _watch(session: Session, storage: Storage, stored: StoredStudy) -> None:
    with _progress(session, storage, stored, hint=LEAVES) as shown:
        while results.status(storage, study.by_uid(storage, stored.uid)).state == "open":
            shown.update()
            time.sleep(1.0)
        shown.update(last=True)


def _say_what_next(
    session: Session, storage: Storage, stored: StoredStudy, shown: Progress
) -> None:
    """To people only; standard output holds the answer."""
    if session.quiet or session.json:
        return
    verbs = [command.callback.__name__ for command in app.registered_commands if command.callback]
    verbs = [verb for verb in ("best", "report", "confirm", "test") if verb in verbs]
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


if __name__ == "__main__":
    sys.exit(main())
