"""What stands beside a best: the count models, and how the best is to them."""

from dataclasses import replace

import pytest
from workspace import Workspace

from makemore_core.data import ngram
from makemore_core.data.dataset import Dataset
from search.dashboard.study_note import note
from search.dashboard.trial_pictures import PicturePublisher
from search.evaluation import baselines
from search.evaluation.baselines import Baselines, compare_with_counts, count_models
from search.report import page as report
from search.study import study
from search.terminal import answers
from search.terminal.display import compare_best_with_counts
from search.trials import status


def others(loss: float, order: int = 6) -> Baselines:
    return Baselines(2.5, None, None, ngram=loss, ngram_order=order)


def test_the_best_count_model_is_the_best_of_all_orders(finished: Workspace) -> None:
    """Each order's dev loss is the one that `baseline` tells; the lowest stands beside the best."""
    stored = study.resolve(finished.storage, "tiny")
    corpus = study.corpus_of(finished.storage, stored, finished.data_dir)
    found = count_models(Dataset.from_corpus(corpus, 42))
    losses = {order: ngram.baseline(corpus, 42, order).dev_loss for order in range(1, 9)}
    assert min(losses.values()) == pytest.approx(found.ngram)
    assert losses[found.ngram_order or 0] == pytest.approx(found.ngram)
    assert losses[2] == pytest.approx(found.bigram)


def test_a_large_corpus_is_counted_up_to_a_lower_order(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this may cost is bounded; the bigram is always there."""
    stored = study.resolve(finished.storage, "tiny")
    data = Dataset.from_corpus(study.corpus_of(finished.storage, stored, finished.data_dir), 42)
    monkeypatch.setattr(baselines, "MAX_COUNTED", 1)
    found = count_models(data)
    assert found.bigram is not None
    assert found.ngram_order in (1, 2)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (2.1, "0.1000 ahead of the best count model (a 6-gram, dev loss 2.1000)"),
        (1.9, "0.1000 behind the best count model (a 6-gram, dev loss 1.9000)"),
        (2.00001, "level with the best count model (a 6-gram, dev loss 2.0000)"),
    ],
)
def test_a_best_is_ahead_behind_or_level(loss: float, expected: str) -> None:
    """As far as the digits that are shown go."""
    assert expected == compare_with_counts(2.0, others(loss))


def test_where_nothing_was_counted_nothing_is_told() -> None:
    """Neither without a count model nor without a best."""
    assert "" == compare_with_counts(2.0, Baselines(None, None, 2.17, "no corpus"))


def test_the_bigram_stands_once_where_it_is_the_best() -> None:
    """The same model under two names would be two models to beat."""
    assert [("bigram", 2.5)] == others(2.5, 2).named
    assert ["bigram", "6-gram"] == [name for name, _ in others(2.1).named]


def test_every_best_has_the_count_model_beside_it(finished: Workspace) -> None:
    """`best`, `status`, the report, the note; in JSON as `count_model`."""
    stored = study.resolve(finished.storage, "tiny")
    PicturePublisher(finished.storage, stored, finished.data_dir).finish()
    kept = baselines.stored_baselines(finished.storage, stored)
    assert kept is not None
    view = status.status(finished.storage, stored)
    assert view.best is not None
    expected = compare_with_counts(view.best.dev_loss, kept)
    assert expected in finished.cli("status", "tiny").out
    assert expected in finished.cli("best", "tiny").out
    assert expected not in finished.cli("best", "tiny", "--toml").out
    for verb in ("status", "best"):
        assert kept.count_model == finished.json(verb, "tiny")["count_model"]
    page = report.write_report(
        finished.storage, stored, finished.data_dir, finished.root / "r.html"
    )
    assert expected in page.read_text(encoding="utf-8")
    assert expected in note(stored, kept, view.best, [], None)


def test_best_counts_where_nobody_did(finished: Workspace) -> None:
    """A study of an older version has no count model kept: `best` fits it."""
    assert finished.json("best", "tiny")["count_model"]["dev_loss"] > 0


def test_a_study_behind_the_count_model_says_so(finished: Workspace) -> None:
    """Plainly, whoever shows its best."""
    stored = study.resolve(finished.storage, "tiny")
    view = status.status(finished.storage, stored)
    assert view.best is not None
    (line,) = compare_best_with_counts(view, others(0.5))
    assert "behind the best count model" in line
    assert "behind" in answers.best(view.best, others(0.5))
    assert [] == compare_best_with_counts(replace(view, best=None), others(0.5))
