"""The live view of a running study: a display on a terminal, plain lines anywhere else.

It must not slow down the study: a poll reads a few rows, there are at most two a second, and after
a poll that took long the next one waits a hundred times as long.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from search.evaluation.baselines import Baselines, baselines
from search.formatting import format_config, format_duration
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.terminal.display import one_line, render
from search.trials import history, results, status
from search.trials.history import WorkerView
from search.trials.results import BestView
from search.trials.status import StatusView

MIN_PAUSE = 0.5
MAX_POLL_FRACTION = 0.01
"""The fraction of one core's time that polling may take."""
SECONDS_BETWEEN_LINES = 5.0
"""Between lines of counts where there is no terminal; a new best is shown at once."""

HINT_RUN = "Ctrl-C: interrupts the running trials; the same command continues"
HINT_STOPPING = "stopping: the running trials are being recorded as interrupted"
HINT_WATCH = "Ctrl-C: ends this view, nothing else"


class LiveView:
    """Shows one study; its owner calls `update` now and then."""

    def __init__(
        self,
        storage: Storage,
        study: StoredStudy,
        console: Console,
        *,
        quiet: bool = False,
        data_dir: DataDir | None = None,
        hint: str = HINT_RUN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._study, self._console = storage, study, console
        self._quiet, self._hint, self._clock = quiet, hint, clock
        self._starts_workers = hint == HINT_RUN  # or it shows a study that others work on
        self._is_stopping = False
        self._drawn: tuple[StatusView, list[WorkerView]] | None = None
        self._best = float("inf")
        self._last_finished = -1
        self._last_counts_at = self._due = float("-inf")
        self.others = Baselines(None, None, None)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        if data_dir is not None and not quiet:
            fit = threading.Thread(target=self._fit_baselines, args=(data_dir,), daemon=True)
            fit.start()

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        elif not self._quiet:
            self._console.print(f"{self._study.name}: {self._hint}", highlight=False)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._is_live:
            self._live.stop()

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet

    def update(self, *, last: bool = False) -> None:
        """Polls and shows what is new, unless the last poll was a moment ago; always if `last`."""
        if self._quiet or not (last or self._clock() >= self._due):
            return
        started = time.thread_time()
        self._poll(last)
        cost = time.thread_time() - started
        self._due = self._clock() + max(MIN_PAUSE, cost / MAX_POLL_FRACTION)

    def stopping(self) -> None:
        """Shows at once that the run ends; reads nothing, since the storage may be the reason.

        What was reached is said once, by whoever ends the run.
        """
        self._is_stopping, self._hint = True, HINT_STOPPING
        if self._is_live and self._drawn is not None:
            self._draw(*self._drawn)

    def _poll(self, last: bool) -> None:
        view = status.status(self._storage, self._study)
        if view.best and min(_searched_losses(view.best)) < self._best:
            self._print_incumbents()
        if not self._is_live:
            self._print_counts(view, last)
        elif not last:
            self._draw(view, history.workers(self._storage, self._study))

    def _draw(self, view: StatusView, workers: list[WorkerView]) -> None:
        self._drawn = view, workers
        display = render(
            view,
            workers,
            self._study,
            self.others,
            self._hint,
            starting=self._starts_workers,
            width=self._console.width,
            height=self._console.height,
        )
        self._live.update(display, refresh=True)

    def _print_incumbents(self) -> None:
        """Prints a line for each trial that was the best when it ended, also between polls."""
        for incumbent in history.incumbents(self._storage, self._study, self._best):
            self._best = incumbent.dev_loss
            config = results.attempt_of_trial(self._storage, self._study, incumbent.trial).config
            self._console.print(
                f"{format_duration(incumbent.worked_seconds):>6}  "
                f"best dev loss {incumbent.dev_loss:.4f}  "
                f"trial {incumbent.trial}  {format_config(config)}",
                highlight=False,
            )

    def _print_counts(self, view: StatusView, last: bool) -> None:
        if self._is_stopping:
            return
        finished, now = view.budget["finished"], self._clock()
        due = last or now - self._last_counts_at >= SECONDS_BETWEEN_LINES
        if finished != self._last_finished and due:
            self._last_finished, self._last_counts_at = finished, now
            self._console.print(
                one_line(view, starting=self._starts_workers and not last), highlight=False
            )

    def _fit_baselines(self, data_dir: DataDir) -> None:
        self.others = baselines(self._storage, self._study, data_dir)


def _searched_losses(best: BestView) -> list[float]:
    """The losses of the winner and of the best unconfirmed trial: the lower is the search's."""
    return [best.dev_loss, *([best.unconfirmed.dev_loss] if best.unconfirmed else [])]
