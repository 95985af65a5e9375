"""The options that every verb has, and those that several share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from search.session import Session

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

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study file.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its file.")
]
AnyStudyName = Annotated[str | None, typer.Argument(metavar="[STUDY]")]
Workers = Annotated[int | None, typer.Option(min=1, help="Default: cores divided by threads.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Replaces the file's number of trials.")]
Timeout = Annotated[
    str | None, typer.Option(help="Replaces the file's timeout, such as 90s or 2m.")
]
CorpusName = Annotated[str | None, typer.Option("--corpus", help="Replaces the file's corpus.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Replaces the file's seed.")]
Artifacts = Annotated[
    str | None,
    typer.Option(
        envvar="MAKEMORE_SEARCH_ARTIFACTS",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="Where the study's model files lie for every host. Default: where they arise.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """A verb as Typer takes it: the common options become its first argument, a Session."""
    own = list(inspect.signature(function).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in COMMON.items()
    ]

    @functools.wraps(function)
    def called(**options: Any) -> None:
        given = {name: options.pop(name) for name in COMMON}
        try:
            with Session.of(**given) as session:
                function(session, **options)
        except EOFError as error:  # which Typer would take for Ctrl-D, and call an interruption
            raise RuntimeError(f"a file ended too early ({error})") from error

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    called.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*own, *common)}
    return called
