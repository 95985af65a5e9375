"""What memory a study needs is told beforehand, and what no trial could have is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace import Workspace, some_words

from makemore_core.data.corpus import Corpus
from search.errors import BadInput
from search.spec import study_file
from search.spec.study_spec import StudySpec
from search.study import memory
from search.study.memory import ensure_corpus_fits, format_bytes, memory_need

GB = 10**9


def spec_of(bed: Workspace, **sections: object) -> StudySpec:
    return study_file.read(bed.file(**sections))


def corpus_of(count: int, letters: str = "abcdefgh") -> Corpus:
    return Corpus("invented", tuple(some_words(count, letters=letters)))


def with_room(
    monkeypatch: pytest.MonkeyPatch, available: int | None, limit: int | None = None
) -> None:
    monkeypatch.setattr(memory, "usable_memory", lambda: available)
    monkeypatch.setattr(memory, "process_memory_limit", lambda: limit)


def test_preview_tells_the_memory(bed: Workspace) -> None:
    """For a worker, for all, and what there is; in JSON in bytes."""
    text = bed.cli("preview", bed.file(), "--workers", 2).out
    assert "memory: up to" in text
    assert "for 2 workers" in text
    found = bed.json("preview", bed.file(), "--workers", 2)["memory"]
    parts = ("program_bytes", "corpus_bytes", "largest_network_bytes")
    assert found["worker_bytes"] == sum(found[part] for part in parts)
    assert found["all_workers_bytes"] == 2 * found["worker_bytes"]
    assert 2 == found["workers"]


def test_words_that_no_trial_could_hold_are_refused(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` and `preview`: one line with what is needed, what there is and what helps; exit 2, and
    nothing is created."""
    with_room(monkeypatch, 1000)
    for verb in ("run", "preview"):
        answer = bed.cli(verb, bed.file(), "--workers", 2)
        assert 2 == answer.status
        assert "are available; what helps:" in answer.complaint
    assert bed.is_untouched


def test_the_largest_networks_are_no_reason(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A space whose corner takes more than there is goes ahead, and preview says so."""
    with_room(monkeypatch, 2 * GB)
    huge = {"hidden_width": [16, 65_536], "embedding_size": [2, 4_096]}
    found = ensure_corpus_fits(spec_of(bed, search=huge), corpus_of(200), 1)
    assert found.largest_network > 2 * GB
    assert found.is_short


def test_nobody_can_tell_what_there_is(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is refused."""
    with_room(monkeypatch, None)
    assert not ensure_corpus_fits(spec_of(bed), corpus_of(200), 64).is_short


def test_what_helps_is_what_would_fit(bed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many workers that it does; smoothing where that is most of it; the smallest block size and
    the least smoothing count."""
    spec = spec_of(bed, search={"smoothing": 0.3, "block_size": [8, 12]})
    corpus = corpus_of(5_000)
    with_room(monkeypatch, None)
    each = memory_need(spec, corpus, 1).least_corpus
    with_room(monkeypatch, int(5 * each))
    with pytest.raises(BadInput, match=r"fewer workers \(--workers 2\), smoothing = 0"):
        ensure_corpus_fits(spec, corpus, 8)
    ensure_corpus_fits(spec, corpus, 2)
    some = spec_of(bed, search={"smoothing": [0.0, 0.3], "block_size": [2, 12]})
    assert memory_need(some, corpus, 1).least_corpus < each / 2


def test_a_limit_on_each_process_counts_for_each(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ulimit -v` sets it: the machine has room, a process has not, and fewer workers do not
    help."""
    with_room(monkeypatch, 100 * GB, 1000)
    with pytest.raises(BadInput) as error:
        ensure_corpus_fits(spec_of(bed), corpus_of(200), 2)
    assert "--workers" not in str(error.value)


@given(st.integers(1, 10**13))
def test_sizes_are_told_in_two_digits(number: int) -> None:
    """And never as nothing."""
    amount, unit = format_bytes(number).split()
    told = float(amount) * {"MB": 10**6, "GB": 10**9}[unit]
    assert told == pytest.approx(number, rel=0.06, abs=10**6)


def test_smoothing_of_a_large_alphabet_takes_little_more(bed: Workspace) -> None:
    """20,000 words of 3,000 characters: smoothing adds tens of megabytes, not gigabytes."""
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 3_000)))
    words = Corpus("invented", tuple(some_words(20_000, letters=letters, longest=4)[1:]))
    plain = memory_need(spec_of(bed), words, 1)
    smooth = memory_need(spec_of(bed, search={"smoothing": 0.3}), words, 1)
    assert 0 < smooth.least_corpus - plain.least_corpus < 0.1 * GB
