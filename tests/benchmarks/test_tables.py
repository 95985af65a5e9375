"""The bench's tables: which configurations they hold, on which words, and how they are kept."""

from pathlib import Path

import pytest

from makemore_core.config import HYPERPARAMETERS
from search.spec import search_space
from search.spec.study_spec import from_document
from tests.benchmarks.search import record, tables, word_lists
from tests.benchmarks.search.tables import RATE, SPACE, Curve, Facts, Table, config_of, drawn


def toy_facts(words: Path) -> Facts:
    """Facts of a recording on these words, with small trials."""
    path = words / "invented.txt"
    path.write_text("\n".join(f"{a}{b}ra" for a in "bdgk" for b in "aeiou") + "\n")
    return Facts(**record.facts_of(path).__dict__ | {"examples": 8_000, "evaluations": 4})


def test_an_index_decides_a_configuration() -> None:
    """Whoever records, and on whatever words, curve 1 is this one."""
    assert {
        "embedding_size": 107, "hidden_width": 106, "block_size": 4, "batch_size": 64,
        "relative_learning_rate": 0.01455, "schedule": "step", "weight_decay": 0.1737,
        "decay_growth": 1.392, "dropout": 0.02666, "smoothing": 0.6474,
    } == drawn(1)  # fmt: skip
    names = [name for name in HYPERPARAMETERS if name in SPACE or name == "learning_rate"]
    assert names == ["learning_rate" if name == RATE else name for name in SPACE]


def test_the_rate_goes_with_batch_over_width(tmp_path: Path) -> None:
    """Four times the width and the same batch: half the rate."""
    at, values = toy_facts(tmp_path), drawn(1) | {"batch_size": 128}
    wide, narrow = (config_of(at, values | {"hidden_width": width}) for width in (512, 128))
    assert 0.01455 == narrow.learning_rate == 2 * wide.learning_rate


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    """What is read is what was written, one line for each curve, in the order of their indices."""
    curves = [Curve(k, drawn(k), 0.25 * k, (2.5, 2.25)[: 2 - k % 2]) for k in (3, 0, 2)]
    table = Table(toy_facts(tmp_path), ()).with_curves(curves[:1]).with_curves(curves[1:])
    table.save(tmp_path / "table.json")
    assert table == tables.load(tmp_path / "table.json")
    assert [0, 2, 3] == [curve.index for curve in table.curves]
    assert 2.25 == table.best
    lines = (tmp_path / "table.json").read_text().splitlines()
    assert 3 == sum(line.startswith("[") for line in lines)
    assert [tmp_path / "table.json"] == list(tmp_path.glob("table*"))


def test_a_recorded_curve_is_what_training_gives(tmp_path: Path) -> None:
    """The same index on the same words gives the same losses again."""
    at = toy_facts(tmp_path)
    first, again = (record.curve_of(at, tmp_path / "invented.txt", 5) for _ in range(2))
    assert 4 == len(first.losses)
    assert (5, drawn(5), first.losses) == (again.index, again.searched, again.losses)


def test_a_list_with_other_words_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that lists other words than those recorded on is told, and nothing is written."""
    of_today = word_lists.WordList("design", lambda: ["ava", "emma"], 64 * "0")
    monkeypatch.setitem(word_lists.WORD_LISTS, "toy", of_today)
    with pytest.raises(word_lists.OtherWordsError, match="toy: the installed package lists other"):
        word_lists.make("toy", tmp_path / "words")
    assert not (tmp_path / "words").exists()


def test_a_recorded_curve_is_trained_again(tmp_path: Path) -> None:
    """The cheapest recorded curve comes out as it is in the table, up to another machine's
    rounding."""
    table = tables.load(tables.DIRECTORY / "towns-cs.json")
    recorded = min(table.curves, key=lambda curve: curve.seconds)
    try:
        words = word_lists.make("towns-cs", tmp_path)
    except word_lists.OtherWordsError as error:
        pytest.skip(str(error))
    again = record.curve_of(table.facts, words, recorded.index)
    assert recorded.losses == pytest.approx(again.losses, abs=2e-3)


@pytest.mark.parametrize(
    "path", sorted(tables.DIRECTORY.glob("*.json")), ids=lambda path: path.stem
)
def test_a_recorded_table_is_of_the_default_space(path: Path) -> None:
    """Each curve's configuration is the one of its index, in the space of the default study, and
    its words are those of its list."""
    table = tables.load(path)
    assert word_lists.WORD_LISTS[table.facts.corpus].sha256 == table.facts.sha256
    assert [drawn(curve.index) for curve in table.curves] == [c.searched for c in table.curves]
    assert all(len(curve.losses) <= table.facts.evaluations for curve in table.curves)


def test_the_space_is_that_of_the_default_study() -> None:
    """A table's space is version 2 of the defaults, whatever later versions have."""
    default = from_document({"study": {"name": "toy"}}, "toy", tables.SPACE_VERSION)
    assert SPACE == search_space.distributions(default.space)
    fixed = search_space.fixed_values(default.space)
    assert tables.FIXED.items() <= fixed.items()
    facts = tables.load(tables.DIRECTORY / "towns-cs.json").facts
    trained = config_of(facts, drawn(1))
    length = {"examples": facts.examples, "evaluations": default.budget.evaluations}
    assert trained == search_space.configuration(default.space, drawn(1), {}, **length)
