"""Shows a running study to people: a live display on a terminal, plain lines anywhere else."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search import results
from search.results import BestView, RunningView, StatusView
from search.storage import Storage
from search.study import StoredStudy


class Progress:
    """Watches one study; `update` is called now and then by whoever runs it."""

    def __init__(
        self, storage: Storage, study: StoredStudy, console: Console, *, quiet: bool = False
    ) -> None:
        self._storage, self._study, self._console = storage, study, console
        self._quiet = quiet
        self._best: float | None = None
        self._finished = -1
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
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
        return self._console.is_terminal and not self._quiet

    def update(self) -> None:
        """Reads the storage and shows what is new."""
        if self._quiet:
            return
        view = results.status(self._storage, self._study)
        if view.best and (self._best is None or view.best.dev_loss < self._best):
            self._best = view.best.dev_loss
            self._console.print(_told_best(view.best, view.elapsed_seconds), highlight=False)
        if self._is_live:
            under_way = results.running(self._storage, self._study)
            self._live.update(_drawn(view, under_way, self._study), refresh=True)
        elif view.budget["finished"] != self._finished:
            self._finished = view.budget["finished"]
            self._console.print(one_line(view), highlight=False)


def one_line(view: StatusView) -> str:
    """A study's counts, best and time in one line."""
    counts = ", ".join(f"{count} {state}" for state, count in view.trials.items() if count)
    best = (
        f"best {view.best.dev_loss:.4f} (trial {view.best.trial})" if view.best else "no best yet"
    )
    left = "" if not view.eta_seconds else f", about {told_seconds(view.eta_seconds)} left"
    return (
        f"{view.study}: {view.budget['finished']}/{view.budget['trials']} trials "
        f"({counts or 'none yet'}), {best}, {told_seconds(view.elapsed_seconds)}{left}"
    )


def told_seconds(seconds: float) -> str:
    """Seconds for people: 41s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def told_config(config: object) -> str:
    """A configuration's main values in one line."""
    values = dict(config) if isinstance(config, dict) else {}
    names = (
        ("block", "block_size"),
        ("embedding", "embedding_size"),
        ("hidden", "hidden_width"),
        ("batch", "batch_size"),
    )
    shape = " ".join(f"{short} {values.get(name)}" for short, name in names)
    rate = values.get("learning_rate", 0.0)
    return f"{shape} {values.get('optimizer')} lr {rate:.3g} {values.get('schedule')}"


def _told_best(best: BestView, elapsed: float) -> str:
    return (
        f"{told_seconds(elapsed):>6}  best dev loss {best.dev_loss:.4f}  "
        f"trial {best.trial}  {told_config(best.config)}"
    )


def _drawn(view: StatusView, under_way: list[RunningView], study: StoredStudy) -> Group:
    done, of = view.budget["finished"], view.budget["trials"]
    bar = Table.grid(padding=(0, 1))
    bar.add_row(Text(study.name, style="bold"), ProgressBar(of, done, width=40), f"{done}/{of}")
    rows = Table.grid(padding=(0, 2))
    for trial in under_way:
        loss = "" if trial.dev_loss is None else f"dev {trial.dev_loss:.4f}"
        share = (trial.examples or 0) / study.spec.budget.examples
        rows.add_row(f"  trial {trial.number}", ProgressBar(1.0, share, width=20), loss)
    return Group(bar, Text(one_line(view)), rows)
