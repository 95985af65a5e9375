"""The program: its verbs in the order in which `--help` lists them, and its exit status."""

import sys
import traceback

import typer

from makemore_core.errors import CoreError
from search.cli.believing import confirm, replay, test
from search.cli.corpora import baseline, corpus
from search.cli.launching import preview, run, submit, worker
from search.cli.lessons import capacity, lr_range, mix
from search.cli.looking import best, report, status, trials
from search.cli.managing import delete, move_storage, stop
from search.cli.models import sample, train
from search.cli.options import with_common_options
from search.cli.serving import dashboard, serve
from search.errors import BadInput, Interrupted, SearchError

VERBS = (
    *(run, submit, worker, preview),
    *(status, trials, best, confirm, test, replay),
    *(train, baseline, sample, corpus),
    *(stop, delete, move_storage, serve, report, dashboard),
    *(lr_range, capacity, mix),
)

app = typer.Typer(
    name="makemore-search",
    help="Hyperparameter search for the makemore MLP (Bengio et al. 2003).",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for verb in VERBS:
    app.command()(with_common_options(verb))


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
