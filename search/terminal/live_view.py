"""Shows a running study to people: a live display on a terminal, plain lines anywhere else.

Looking must not slow down what is looked at: a look reads a few rows, there are at most two a
second, and after a look that took long the next one waits fifty times as long.
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
from search.trials.results import BestView
from search.trials.status import StatusView

MIN_PAUSE = 0.5
MAX_POLL_FRACTION = 0.01
"""Of one core's time, at most, goes into looking."""
SECONDS_BETWEEN_LINES = 5.0
"""Where there is no terminal; a line for each new best comes at once."""

HINT_RUN = "Ctrl-C: the trials under way are recorded as interrupted; the same command goes on"
HINT_WATCH = "Ctrl-C: ends this view, nothing else"


class LiveView:
    """Watches one study; `update` is called now and then by whoever runs it."""

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
        self._best = float("inf")
        self._printed_finished = -1
        self._printed_at = self._due = float("-inf")
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
    def _starts_workers(self) -> bool:
        """Whether it is shown by whoever starts the workers, and not to somebody else."""
        return self._hint == HINT_RUN

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet

    def update(self, *, last: bool = False) -> None:
        """Looks and shows what is new, unless the last look was a moment ago; `last` always."""
        if self._quiet or not (last or self._clock() >= self._due):
            return
        started = time.thread_time()
        self._look(last)
        cost = time.thread_time() - started
        self._due = self._clock() + max(MIN_PAUSE, cost / MAX_POLL_FRACTION)

    def stopping(self) -> None:
        """Says at once what an interruption leads to."""
        if not self._quiet:
            self._console.print(
                f"{self._study.name}: stopping; the trials under way are being recorded as "
                "interrupted, and the same command goes on where it stopped",
                highlight=False,
            )

    def _look(self, last: bool) -> None:
        view = status.status(self._storage, self._study)
        if view.best and min(_searched_losses(view.best)) < self._best:
            self._print_incumbents()
        if not self._is_live:
            self._print_counts(view, last)
        elif not last:
            workers = history.workers(self._storage, self._study)
            drawn = render(
                view, workers, self._study, self.others, self._hint, starting=self._starts_workers
            )
            self._live.update(drawn, refresh=True)

    def _print_incumbents(self) -> None:
        """A line for each trial that was the best when it ended, also for those between looks."""
        for record in history.incumbents(self._storage, self._study, self._best):
            self._best = record.dev_loss
            config = results.attempt_of_trial(self._storage, self._study, record.trial).config
            self._console.print(
                f"{format_duration(record.worked_seconds):>6}  "
                f"best dev loss {record.dev_loss:.4f}  "
                f"trial {record.trial}  {format_config(config)}",
                highlight=False,
            )

    def _print_counts(self, view: StatusView, last: bool) -> None:
        finished, now = view.budget["finished"], self._clock()
        due = last or now - self._printed_at >= SECONDS_BETWEEN_LINES
        if finished != self._printed_finished and due:
            self._printed_finished, self._printed_at = finished, now
            self._console.print(
                one_line(view, starting=self._starts_workers and not last), highlight=False
            )

    def _fit_baselines(self, data_dir: DataDir) -> None:
        self.others = baselines(self._storage, self._study, data_dir)


def _searched_losses(best: BestView) -> list[float]:
    """Of a confirmed winner and what is not confirmed: one of them is the lowest of the search."""
    return [best.dev_loss, *([best.unconfirmed.dev_loss] if best.unconfirmed else [])]
