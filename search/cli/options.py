"""The options that every verb has, and those that several share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.session import Session
from search.errors import BadInput

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
Workers = Annotated[
    int | None, typer.Option(min=1, help="Default: the cores there are for it, by threads.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker.")]
Trials = Annotated[
    int | None, typer.Option(min=1, help="Finished trials in all; replaces the file's.")
]
Timeout = Annotated[
    str | None, typer.Option(help="Working time in all, such as 90s or 2m; replaces the file's.")
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
AS_FILE = CorpusFormat()
"""The layout that the file shows."""

LAYOUT: dict[str, tuple[Any, Any]] = {
    "column": (
        Annotated[
            int | None,
            typer.Option(min=1, max=10_000, help="Of a corpus file: the column of its words."),
        ],
        None,
    ),
    "separator": (
        Annotated[
            str | None,
            typer.Option(
                help="Between its columns: a sign, tab, blanks; none: each line is a word."
            ),
        ],
        None,
    ),
    "count": (
        Annotated[
            int | None,
            typer.Option(min=1, max=10_000, help="The column that says how often each occurs."),
        ],
        None,
    ),
    "drop_unusable": (
        Annotated[
            bool, typer.Option("--drop-unusable", help="Leave out lines that cannot be words.")
        ],
        False,
    ),
}
"""What a verb is given as one `layout`, wherever it takes the path of a corpus."""

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """A verb as Typer takes it: the common options become its first argument, a Session."""
    own = list(inspect.signature(function).parameters.values())[1:]
    has_layout = any(parameter.name == "layout" for parameter in own)
    own = [parameter for parameter in own if parameter.name != "layout"]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in ((LAYOUT if has_layout else {}) | COMMON).items()
    ]

    @functools.wraps(function)
    def called(**options: Any) -> None:
        given = {name: options.pop(name) for name in COMMON}
        if has_layout:
            options["layout"] = _layout(*(options.pop(name) for name in LAYOUT))
        try:
            with Session.of(**given) as session:
                function(session, **options)
        except EOFError as error:  # which Typer would take for Ctrl-D, and call an interruption
            raise RuntimeError(f"a file ended too early ({error})") from error

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    called.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*own, *common)}
    return called


def _layout(
    column: int | None, separator: str | None, count: int | None, drop_unusable: bool
) -> CorpusFormat:
    if separator == "":
        raise BadInput("--separator: is empty; give the sign between the columns, tab or blanks")
    return CorpusFormat(column, separator, count, drop_unusable)
