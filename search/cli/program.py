"""The program: its verbs, and its exit status."""

import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from makemore_core.data.printable import printable
from makemore_core.errors import CoreError
from search.cli import streams
from search.cli.import_path import without_working_directory
from search.cli.options import with_common_options, with_options_before_the_verb
from search.errors import BadInput, Interrupted, SearchError

NAME = "makemore-search"

GROUPS: dict[str, dict[str, str]] = {
    "Search": {
        **{"init": "init"},
        **dict.fromkeys(("preview", "run", "submit", "worker"), "run"),
        **{"stop": "manage"},
    },
    "Results": dict.fromkeys(("status", "trials", "best", "report", "export"), "status"),
    "Confirm and test": dict.fromkeys(("confirm", "test", "replay"), "confirm"),
    "Models": dict.fromkeys(("train", "sample", "score"), "train"),
    "Corpora, the lecture and the paper": {
        **dict.fromkeys(("corpus", "baseline"), "corpus"),
        **dict.fromkeys(("lr-range", "capacity", "mix"), "experiments"),
    },
    "Service": {**dict.fromkeys(("serve", "dashboard"), "serve"), "token": "token"},
    "Administration": dict.fromkeys(("delete", "move-storage"), "manage"),
}
"""Each verb, in the order in which `--help` lists them, and the module of this package it is in."""

VERBS = {verb: module for verbs in GROUPS.values() for verb, module in verbs.items()}


class _VerbGroup(TyperGroup):
    """The verbs; each is imported when it is first asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # for a name that is no verb, all are loaded: the error message suggests similar ones
        for verb in [cmd_name] if cmd_name in VERBS else VERBS:
            if verb not in self.commands:
                self.commands[verb] = _load(verb)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs in their groups, each with the whole first paragraph of its help."""
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(verb.ljust(width), self._summary(ctx, verb)) for verb in verbs]
                )

    def _summary(self, ctx: Any, verb: str) -> str:
        return " ".join(self.get_command(ctx, verb).help.split("\n\n")[0].split())


def _load(verb: str) -> Any:
    with redirect_stdout(sys.stderr):  # for what libraries print as they are loaded
        module = importlib.import_module(f"search.cli.{VERBS[verb]}")
    program = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    program.command(verb)(with_common_options(getattr(module, verb.replace("-", "_"))))
    return typer.main.get_command(program)


def _print_version(asked: bool) -> None:
    if asked:
        python = ".".join(map(str, sys.version_info[:3]))
        libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "optuna"))
        print(f"{NAME} {metadata.version(NAME)} (Python {python}, {libraries})")
        raise typer.Exit


def _begin(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Hyperparameter search for the makemore MLP (Bengio et al. 2003).

    `makemore-search init quick` writes a first study file, `makemore-search run quick.toml` runs
    it. The options below stand before a verb or after it; `makemore-search VERB --help` shows the
    rest.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def app(verbs: Iterable[str] = tuple(VERBS)) -> typer.Typer:
    """The program; these verbs are loaded at once, and the others when they are asked for."""
    program = typer.Typer(
        name=NAME,
        cls=_VerbGroup,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    program.callback()(with_options_before_the_verb(_begin))
    for verb in verbs:
        module = importlib.import_module(f"search.cli.{VERBS[verb]}")
        program.command(verb)(with_common_options(getattr(module, verb.replace("-", "_"))))
    return program


def main() -> int:
    """Runs the program; returns the exit status. A user sees one line, never a traceback."""
    with streams.prepared(), without_working_directory(), _ctrl_c():
        return _main()


class _CtrlC(KeyboardInterrupt):
    """Ctrl-C.

    After a plain KeyboardInterrupt in code that is compiled from a string, such as the making of a
    named tuple, Python ends by the signal and not with the exit status, although it was caught.
    """


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Has SIGINT raise `_CtrlC`, unless this process handles it otherwise or ignores it."""
    is_plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_plain or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _raise_ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _raise_ctrl_c(_number: int, _frame: Any) -> None:
    raise _CtrlC


def _main() -> int:
    try:
        status = app(verbs=())(prog_name=NAME, standalone_mode=False)
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
    line = printable(" ".join(message.split()))
    print(line if status == Interrupted.exit_status else f"error: {line}", file=sys.stderr)
    return status
