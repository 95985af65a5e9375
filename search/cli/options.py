"""The options that every verb has, and those that several share."""

import functools
import inspect
from collections.abc import Callable, Sequence
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
                envvar="MAKEMORE_SEARCH_DATA_DIR",
                help="Where this machine keeps studies, checkpoints and logs.",
            ),
        ],
        Path("runs"),
    ),
    "storage": (
        Annotated[
            str | None,
            typer.Option(
                envvar="MAKEMORE_SEARCH_STORAGE",
                help="SQLAlchemy URL of the study database. Default: studies.db in --data-dir.",
            ),
        ],
        None,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="No progress display.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show tracebacks.")], False),
}

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study file.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its file.")
]
AnyStudyName = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="A study's name, or the path of its file.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Worker processes. Default: the available cores divided by --threads."
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker.")]
Trials = Annotated[
    int | None, typer.Option(min=1, help="Total of finished trials; replaces the file's.")
]
Timeout = Annotated[
    str | None, typer.Option(help="Total working time, such as 90s or 2m; replaces the file's.")
]
CorpusName = Annotated[str | None, typer.Option("--corpus", help="Replaces the file's corpus.")]
SplitSeed = Annotated[int, typer.Option(min=0, help="The seed of the train/dev/test split.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Replaces the file's seed.")]
BeginFrom = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STUDY",
        help="A study of the same storage; a new study tries its best configurations first.",
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        envvar="MAKEMORE_SEARCH_ARTIFACTS",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="Shared place of the study's model files. Default: each host's data directory.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
AS_FILE = CorpusFormat()
"""The layout is found from the corpus file itself."""

LAYOUT: dict[str, tuple[Any, Any]] = {
    "column": (
        Annotated[
            int | None,
            typer.Option(
                min=1, max=10_000, help="The column of a corpus file that holds the words."
            ),
        ],
        None,
    ),
    "separator": (
        Annotated[
            str | None,
            typer.Option(
                help="Between columns: a character, tab or blanks; none for one word a line."
            ),
        ],
        None,
    ),
    "count": (
        Annotated[
            int | None,
            typer.Option(
                min=1, max=10_000, help="The column with the number of occurrences of each word."
            ),
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
"""The options that become the `layout` of a verb that takes the path of a corpus."""

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """A verb as Typer takes it: the common options become its first argument, a Session."""
    own = list(inspect.signature(function).parameters.values())[1:]
    has_layout = any(parameter.name == "layout" for parameter in own)
    own = [parameter for parameter in own if parameter.name != "layout"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in ((LAYOUT if has_layout else {}) | COMMON).items()
    ]

    @functools.wraps(function)
    def called(context: typer.Context, **options: Any) -> None:
        given = {name: _latest(context, name, options.pop(name)) for name in COMMON}
        if has_layout:
            options["layout"] = _layout(*(options.pop(name) for name in LAYOUT))
        try:
            with Session.from_options(**given) as session:
                function(session, **options)
        except EOFError as error:  # which Typer would take for Ctrl-D, and call an interruption
            raise RuntimeError(f"a file ended too early ({error})") from error

    return _with_signature(called, [_CONTEXT, *own, *added])


def with_options_before_the_verb(function: Callable[..., None]) -> Callable[..., None]:
    """What begins before every verb, as Typer takes it: with the common options, which are left to
    the verb."""
    own = list(inspect.signature(function).parameters.values())
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in COMMON.items()
    ]

    @functools.wraps(function)
    def called(**options: Any) -> None:
        function(**{name: value for name, value in options.items() if name not in COMMON})

    return _with_signature(called, [*own, *common])


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def _with_signature(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """The function with the parameters from which Typer makes its options, all by keyword."""
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    function.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in keywords}
    return function


def _latest(context: typer.Context, name: str, value: Any) -> Any:
    """The value of a common option: as given after the verb, else as given before it."""
    before = context.parent
    if before is None or _is_on_command_line(context, name):
        return value
    return before.params[name] if _is_on_command_line(before, name) else value


def _is_on_command_line(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _layout(
    column: int | None, separator: str | None, count: int | None, drop_unusable: bool
) -> CorpusFormat:
    if separator == "":
        raise BadInput("--separator: is empty; give the sign between the columns, tab or blanks")
    return CorpusFormat(column, separator, count, drop_unusable)
