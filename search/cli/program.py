"""The program: its verbs, and its exit status."""

import importlib
import sys
import traceback
from collections.abc import Iterable
from contextlib import redirect_stdout

import typer

from makemore_core.data.printable import printable
from makemore_core.errors import CoreError
from search.cli import streams
from search.cli.import_path import without_working_directory
from search.cli.options import with_common_options
from search.errors import BadInput, Interrupted, SearchError

VERBS = {
    **dict.fromkeys(("run", "submit", "worker", "preview"), "run"),
    **dict.fromkeys(("status", "trials", "best"), "status"),
    **dict.fromkeys(("confirm", "test", "replay"), "confirm"),
    "train": "train",
    "baseline": "corpus",
    "sample": "train",
    "corpus": "corpus",
    **dict.fromkeys(("stop", "delete", "move-storage"), "manage"),
    "serve": "serve",
    "report": "status",
    "dashboard": "serve",
    **dict.fromkeys(("lr-range", "capacity", "mix"), "experiments"),
}
"""Each verb, in the order in which `--help` lists them, and the module of this package it is in."""


def app(verbs: Iterable[str] = tuple(VERBS)) -> typer.Typer:
    """The program with these verbs; modules of others are not loaded, which would take a while."""
    made = typer.Typer(
        name="makemore-search",
        help="Hyperparameter search for the makemore MLP (Bengio et al. 2003).",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    made.callback()(lambda: None)  # with a single verb too, its name is part of the command
    for verb in verbs:
        module = importlib.import_module(f"search.cli.{VERBS[verb]}")
        made.command(verb)(with_common_options(getattr(module, verb.replace("-", "_"))))
    return made


def main() -> int:
    """Runs the program; returns the exit status. A user sees one line, never a traceback."""
    with streams.prepared(), without_working_directory():
        return _main()


def _main() -> int:
    try:
        asked = [verb for verb in sys.argv[1:2] if verb in VERBS]
        with redirect_stdout(sys.stderr):  # for what libraries print as they are loaded
            program = app(asked or VERBS)
        status = program(standalone_mode=False)
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
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)
    return status
