"""The paper's table on a study's own models: each network alone, and mixed with an n-gram.

Bengio et al. 2003, table 1: MLP1, MLP3, ... are networks, MLP2, MLP4, ... the same ones mixed with
an interpolated trigram. `studies/bengio.toml` enqueues the five networks; any study will do.
"""

from dataclasses import dataclass

from makemore_core.data import ngram
from makemore_core.data.dataset import Dataset
from makemore_core.lecture.mixture import mix
from search.errors import NotFound
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, corpus_of, load_model
from search.trials import results
from search.trials.retention import KEPT_CHECKPOINTS


@dataclass(frozen=True)
class MixtureRow:
    """A line of the paper's table; losses in nats per predicted character, on dev."""

    name: str
    trial: int
    n: int  # the paper's: the characters of context, and the one that is predicted
    hidden_width: int  # the paper's c
    embedding_size: int  # the paper's m
    direct: bool
    mixed: bool
    weight: float  # the network's share
    train_loss: float | None  # of the network alone
    dev_loss: float
    dev_loss_unseen: float | None
    dev_perplexity: float


@dataclass(frozen=True)
class MixtureTable:
    """The JSON document of `mix`."""

    study: str
    order: int
    ngram_dev_loss: float
    weight_fitted: bool
    rows: list[MixtureRow]


def table(
    storage: Storage, study: StoredStudy, data_dir: DataDir, order: int, weight: float | None
) -> MixtureTable:
    """Two rows for each of the best complete trials (at most ten), in the order they were asked.

    Args:
        weight: the network's share in the mixtures; None: fitted on dev, for each network.

    Raises:
        NotFound: the study has no complete trial.
        CheckpointError: a checkpoint is not on this machine.
    """
    found = results.best_trials(storage, study, KEPT_CHECKPOINTS)
    if not found:
        raise NotFound(f"study {study.name}: no complete trial yet; `run` it first")
    attempts = [results.attempt_of_trial(storage, study, each.trial) for each in found]
    data = Dataset.from_corpus(corpus_of(storage, study, data_dir), study.spec.study.split_seed)
    counted = ngram.fit(data.train_words, data.vocabulary, order)
    rows: list[MixtureRow] = []
    for attempt in sorted(attempts, key=lambda each: each.ordinal):
        path = data_dir.checkpoint(study.uid, attempt.trial)
        model = load_model(study, path, attempt.checkpoint_sha256)
        for mixed, share in ((False, 1.0), (True, weight)):
            mixture = mix(model, counted, data, share)
            rows.append(
                MixtureRow(
                    name=f"MLP{len(rows) + 1}",
                    trial=attempt.trial,
                    n=model.config.block_size + 1,
                    hidden_width=model.config.hidden_width,
                    embedding_size=model.config.embedding_size,
                    direct=model.config.direct,
                    mixed=mixed,
                    weight=mixture.weight,
                    train_loss=None if mixed else attempt.train_loss,
                    dev_loss=mixture.dev_loss,
                    dev_loss_unseen=mixture.dev_loss_unseen,
                    dev_perplexity=mixture.dev_perplexity,
                )
            )
    return MixtureTable(study.name, order, counted.loss(data.dev_words), weight is None, rows)
