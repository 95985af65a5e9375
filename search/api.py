"""The Python interface: a study, its winner and its models, in a notebook or a script.

It reads studies, and writes nothing to their database. The names in `__all__` are stable. A study
is found as by the program: in `storage` and `data_dir`, or the environment variables
`MAKEMORE_SEARCH_STORAGE` and `MAKEMORE_SEARCH_DATA_DIR`, or the directory `runs`.

>>> from search import api
>>> study = api.load_study("tiny")
>>> study.status().state
'done'
>>> study.best().trial == study.optuna.best_trial.number
True
>>> model = study.model()
>>> api.sample_words(model, 5, seed=1) == api.sample_words(model, 5, seed=1)
True
>>> [score.characters for score in api.score_words(model, ["ella", "tim"])]
[5, 4]

Every error is a `SearchError`, such as `NotFound`, or one of `makemore_core.errors`.
"""

import os
import weakref
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import optuna

from search.errors import NotFound, SearchError
from search.evaluation import winner
from search.paths import DataDir
from search.storage import optuna_studies
from search.storage.database import Storage, open_storage
from search.study import study as studies
from search.study.study import StoredStudy
from search.trials import results
from search.trials import status as status_module
from search.trials.results import BestView
from search.trials.status import StatusView

if TYPE_CHECKING:  # torch and plotly are loaded by what needs them
    from plotly.graph_objects import Figure

    from makemore_core.model.network import Model
    from makemore_core.training.evaluate import WordScore

__all__ = [
    "BestView",
    "NotFound",
    "SearchError",
    "StatusView",
    "Study",
    "continue_word",
    "load_model",
    "load_study",
    "sample_words",
    "score_words",
    "study_names",
]


class Study:
    """A study of a storage; `load_study` makes one.

    Each call reads the study as it is at that time, also while workers run. The connection is
    closed at the end of a `with`, by `close`, or with the object.
    """

    def __init__(self, storage: Storage, stored: StoredStudy, data_dir: DataDir) -> None:
        self._storage, self._stored, self._data_dir = storage, stored, data_dir
        self.close = weakref.finalize(self, storage.close)
        """Closes the connection to the database."""

    def __repr__(self) -> str:
        return f"Study({self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The study's name.

        >>> study.name
        'tiny'
        """
        return self._stored.name

    @property
    def optuna(self) -> optuna.Study:
        """The study as Optuna has it, to read: for `optuna.visualization`, for example.

        Raises:
            NotFound: the study, or its part in Optuna's tables, has been deleted.

        >>> len(study.optuna.trials)
        12
        """
        stored = self._now()
        if stored.lost:
            raise NotFound(
                f"study {self.name}: another program deleted its trials from Optuna's tables"
            )
        name = optuna_studies.name(self._storage, stored.optuna_id)
        return optuna.load_study(study_name=name, storage=self._storage.optuna)

    def status(self) -> StatusView:
        """The counts of trials by state, the budget, the best and the time, as of now.

        >>> status = study.status()
        >>> status.trials["complete"] + status.trials["pruned"] == status.budget["trials"]
        True
        """
        return status_module.status(self._storage, self._now())

    def trials(self) -> list[dict[str, Any]]:
        """A flat row for each trial, by number: `pandas.DataFrame(study.trials())` takes them.

        The columns are those of `trials --format csv`: `dev_loss` is in nats per character,
        `seconds` is training time, `config_examples` is the budget of a full trial.

        >>> row = study.trials()[0]
        >>> list(row)[:5], row["number"], row["block_size"] in (2, 3)
        (['number', 'state', 'dev_loss', 'seconds', 'examples'], 0, True)
        """
        return results.flat_rows(results.trials(self._storage, self._now()))

    def best(self) -> BestView:
        """The winner: of `confirm`, or else the complete trial with the lowest dev loss.

        Raises:
            NotFound: no trial is complete yet.

        >>> best = study.best()
        >>> best.loss == min(row["dev_loss"] for row in study.trials() if row["dev_loss"])
        True
        >>> sorted(best.config)[:3]
        ['batch_size', 'block_size', 'decay_growth']
        """
        return results.require_best(self._storage, self._now())

    def model(self) -> "Model":
        """The winning model, its file checked against the recorded hash.

        Raises:
            NotFound: no trial is complete yet.
            CheckpointError: its file is neither in the data directory nor in the artifact store, or
                it is not what was recorded.

        >>> study.model().parameters == study.best().parameters
        True
        """
        return winner.load_winning_model(self._stored, self._data_dir, self.best())

    def report_figures(self) -> "dict[str, Figure]":
        """The figures of the study's report as plotly figures, by name.

        >>> figures = study.report_figures()
        >>> {"history", "curves", "embedding"} <= set(figures)
        True
        """
        from search.report.notebook_figures import report_figures

        return report_figures(self._storage, self._now(), self._data_dir)

    def _now(self) -> StoredStudy:
        """The study as the storage has it now; raises NotFound if it has been deleted."""
        return studies.by_uid(self._storage, self._stored.uid)


def load_study(
    name: str, storage: str | None = None, data_dir: str | os.PathLike[str] | None = None
) -> Study:
    """A study by its name, or by the path of its study file.

    Args:
        storage: the SQLAlchemy URL of the database; by default the one in the data directory.
        data_dir: where this machine has the model files.

    Raises:
        NotFound: the storage has no such study.
        StorageUnavailable: there is no such database, or it cannot be used.

    >>> api.load_study("tiny")
    Study('tiny')
    >>> api.load_study("emma")
    Traceback (most recent call last):
    search.errors.NotFound: study emma: not in storage sqlite:///runs/studies.db; it holds: tiny
    """
    place = _data_dir(data_dir)
    opened = _open(storage, place)
    try:
        return Study(opened, studies.resolve(opened, name), place)
    except BaseException:
        opened.close()
        raise


def study_names(
    storage: str | None = None, data_dir: str | os.PathLike[str] | None = None
) -> list[str]:
    """The names of the studies of a storage, the oldest first; arguments as of `load_study`.

    >>> api.study_names()
    ['tiny']
    """
    opened = _open(storage, _data_dir(data_dir))
    try:
        return results.study_names(opened)
    finally:
        opened.close()


def load_model(path: str | os.PathLike[str], sha256: str | None = None) -> "Model":
    """A model from a file that `train --save` or `export` wrote.

    Args:
        sha256: what the hash of the file must be.

    Raises:
        CheckpointError: the file is missing, damaged, or not the one with that hash.
    """
    from makemore_core.model import checkpoint

    return checkpoint.load(Path(path), sha256)[0]


def score_words(model: "Model", words: Sequence[str]) -> "list[WordScore]":
    """The negative log-likelihood of each word, its end included: (word, nats, characters).

    Raises:
        CorpusError: a word has a character outside the model's alphabet.

    >>> likely, unlikely = api.score_words(model, ["mia", "aaaaaa"])
    >>> likely.nats < unlikely.nats
    True
    """
    from makemore_core.training import evaluate

    return evaluate.score_words(model, words)


def sample_words(
    model: "Model",
    count: int = 20,
    *,
    seed: int,
    temperature: float = 1.0,
    prefix: str = "",
    exclude: Container[str] = (),
) -> list[str]:
    """New words from a model; the same model, arguments and seed give the same words.

    Args:
        temperature: divides the logits: below 1 likelier words, above 1 more unusual ones.
        prefix: the beginning of every word.
        exclude: words that are drawn again.

    Raises:
        ConfigError: the temperature is not above 0, the prefix is outside the alphabet, or the
            model draws nothing but excluded words.

    >>> len(api.sample_words(model, 3, seed=1, temperature=0.5, exclude={"ella"}))
    3
    """
    from makemore_core.model import sampling

    return sampling.sample(
        model, count, seed, temperature=temperature, prefix=prefix, exclude=exclude
    )


def continue_word(
    model: "Model", start: str, count: int = 10, *, seed: int, temperature: float = 1.0
) -> list[str]:
    """Different words that begin with `start`, the likeliest of those drawn first.

    Of `count` draws, so there may be fewer; errors as of `sample_words`.

    >>> words = api.continue_word(model, "mar", 5, seed=1)
    >>> all(word.startswith("mar") for word in words)
    True
    """
    drawn = sample_words(model, count, seed=seed, temperature=temperature, prefix=start)
    scores = score_words(model, sorted(filter(None, set(drawn))))
    return [score.word for score in sorted(scores, key=lambda score: score.nats)]


def _data_dir(given: str | os.PathLike[str] | None) -> DataDir:
    if given is None:
        given = os.environ.get("MAKEMORE_SEARCH_DATA_DIR") or "runs"
    return DataDir(Path(given).expanduser())


def _open(url: str | None, data_dir: DataDir) -> Storage:
    """The storage, which refuses to be written from here on."""
    url = url or os.environ.get("MAKEMORE_SEARCH_STORAGE") or data_dir.default_storage
    opened = open_storage(url)
    opened.set_read_only()
    return opened
