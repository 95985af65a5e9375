"""Results as text for people."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.data.ngram import NgramBaseline
from makemore_core.data.printable import printable
from makemore_core.data.splits import split
from search.evaluation.baselines import Baselines, compare_with_counts
from search.evaluation.winner import describe_best, describe_model, describe_winner, remarks_on
from search.formatting import format_config, format_duration, format_seed_interval
from search.study.memory import MemoryNeed, format_bytes
from search.trials.ending import toml_duration
from search.trials.results import BestView, TrialView, flat_columns, flat_rows

if TYPE_CHECKING:  # they load torch, which `best` and `trials` do without
    from makemore_core.training.evaluate import WordScore
    from makemore_core.training.trainer import TrialResult
    from search.evaluation.confirm import Confirmation
    from search.evaluation.final_test import TestResult
    from search.evaluation.ngram_mixture import MixtureTable
    from search.evaluation.replay import Replay
    from search.study.cost_estimate import Preview

MAX_SYMBOLS = 300


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns padded to their widest cell."""
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def trials(views: Sequence[TrialView]) -> str:
    """Every trial on a line of its own."""
    return table(
        ("trial", "state", "dev loss", "seconds", "examples", "reason", "configuration"),
        (
            (
                v.number,
                _state(v),
                v.dev_loss,
                v.seconds,
                v.examples,
                v.reason,
                format_config(v.config),
            )
            for v in views
        ),
    )


def _state(view: TrialView) -> str:
    """The state for people: an interrupted attempt is not called failed."""
    return "interrupted" if (view.state, view.reason) == ("failed", "interrupted") else view.state


def best(view: BestView, others: Baselines) -> str:
    """The winner with its configuration, compared with the best count model."""
    searched = "" if view.confirmed else "; `confirm` retrains it on fresh seeds"
    against = compare_with_counts(view.loss, others)
    lines = [
        f"{view.study}: {describe_best(view)}, {view.parameters:,} parameters",
        *[f"  {against}"] * bool(against),
        f"  as searched: dev loss {view.dev_loss:.4f} ({_unseen(view.dev_loss_unseen)}{searched})",
    ]
    if view.confirmed:
        lines += [
            f"  confirmed: {format_seed_interval(view.dev_loss_mean_ci95)}",
            f"  its model, for `sample`: {describe_model(view)}",
        ]
    lines += [f"  {remark}" for remark in remarks_on(view)]
    return "\n".join([*lines, *[f"  {name} = {value}" for name, value in view.config.items()]])


def _unseen(loss: float | None) -> str:
    return "every word is in train" if loss is None else f"{loss:.4f} on words not in train"


def preview(view: "Preview") -> str:
    """The space and the cost of a study."""
    return "\n".join(
        [
            f"{view.study}: {view.trials} trials, about {format_duration(view.estimated_seconds)}",
            f"  {_first_end(view)}",
            f"  a full trial takes {view.seconds_of_full_trial:.1f}s on this machine; "
            f"{_share(view)}",
            *[f"  {line}" for line in _memory(view.memory)],
            *[f"  {name} = {value}" for name, value in view.space.items()],
        ]
    )


def _share(view: "Preview") -> str:
    if view.share_trained == 1:
        return "every trial is counted as a full one"
    return f"pruning leaves {view.share_trained:.0%} of that to the average trial"


def _memory(need: MemoryNeed | None) -> list[str]:
    """The memory that the workers need at most, and what is available."""
    if need is None:
        return []
    line = (
        f"memory: up to {format_bytes(need.worker)} a worker ({format_bytes(need.program)} for the "
        f"program, {format_bytes(need.corpus)} for the corpus, "
        f"{format_bytes(need.largest_network)} for the largest network)"
    )
    if need.workers > 1:
        line += f", {format_bytes(need.all_workers)} for {need.workers} workers"
    if need.available is not None:
        line += f"; {format_bytes(need.available)} are available"
    if need.is_short:
        line += "; trials of the largest networks may end `out of memory`"
    return [line]


def _first_end(view: "Preview") -> str:
    """Which part of the budget is estimated to be met first."""
    whole = (
        f"all {view.trials} trials would take about {format_duration(view.seconds_of_all_trials)}"
    )
    if view.timeout is None:
        first = f"{whole}; there is no timeout"
    elif view.ends_by == "timeout":
        first = (
            f"its timeout of {toml_duration(view.timeout)} is likely to come first, after about "
            f"{view.expected_trials} trials: {whole}"
        )
    else:
        first = f"{whole}, sooner than its timeout of {toml_duration(view.timeout)}"
    if view.target is None:
        return first
    return f"{first}; a dev loss at or below its target of {view.target} ends it before that"


def training(result: "TrialResult", dev_loss_ci95: Sequence[float]) -> str:
    """The losses and the speed of a `train`."""
    return (
        f"dev loss {result.dev_loss:.4f} (95% interval over words {_span(dev_loss_ci95)}; one "
        f"seed; last {result.final_dev_loss:.4f}, {_unseen(result.dev_loss_unseen)}), "
        f"train loss {result.train_loss:.4f}; "
        f"{result.parameters:,} parameters, {result.steps:,} steps, "
        f"{result.train_seconds:.1f}s ({result.steps_per_second:,.0f} steps a second)"
    )


def corpus(view: Mapping[str, Any]) -> str:
    """The words, alphabet and splits of a corpus."""
    train, dev, test = (view["splits"][part] for part in ("train", "dev", "test"))
    return "\n".join(
        [
            f"{view['name']}: {view['words']:,} words, {view['unique_words']:,} of them unique",
            f"  {len(view['vocabulary']):,} symbols: {_alphabet(view['vocabulary'])}",
            f"  fingerprint {view['sha256']}",
            *[
                f"  {name}: {part['words']:,} words, {part['examples']:,} examples, "
                f"{part['unique_contexts']:,} unique contexts at block size {view['block_size']}"
                for name, part in (("train", train), ("dev", dev))
            ],
            f"  test: {test['words']:,} words, sealed",
            f"  {view['dev_words_seen_in_train']:,} of the dev words are in train as well",
        ]
    )


def _alphabet(vocabulary: str) -> str:
    """The alphabet, or the beginning of a large one; `--json` has all of it."""
    return printable(vocabulary[:MAX_SYMBOLS]) + "…" * (len(vocabulary) > MAX_SYMBOLS)


def scores(rows: "Sequence[WordScore]") -> str:
    """The loss of each word, and of all together."""
    nats, characters = sum(row.nats for row in rows), sum(row.characters for row in rows)
    lines = [(row.word, row.nats, row.nats / row.characters, row.characters) for row in rows]
    if len(rows) > 1:
        lines.append((f"all {len(rows)} words", nats, nats / characters, characters))
    return table(
        ("word", "nats", "per character", "characters"),
        [(printable(word), *numbers) for word, *numbers in lines],
    )


def baseline(view: NgramBaseline) -> str:
    """The losses of a count model."""
    return (
        f"{view.order}-gram, interpolated Kneser-Ney: train {view.train_loss:.4f}, "
        f"dev {view.dev_loss:.4f} ({_unseen(view.dev_loss_unseen)}); by counts, fitted and "
        f"evaluated on every word: {view.all_words_loss:.4f}. Exact for these words: no interval."
    )


def test(result: "TestResult") -> str:
    """The result of the test split."""
    low, high = result.test_loss_ci95
    lines = [
        f"{result.study}: {describe_winner(result.trial, result.per_model)}, test loss "
        f"{result.test_loss:.4f} "
        f"(95% interval over words {low:.4f} to {high:.4f}; {_unseen(result.test_loss_unseen)}), "
        f"dev loss {result.dev_loss:.4f} (too good: dev chose it)",
        "opened now, for this study for the first and only time"
        if result.first_time
        else f"recorded when the test split was opened: {result.evaluated_at}",
    ]
    if result.opened_before:
        names = ", ".join(f"{each['study']} ({each['opened_at']})" for each in result.opened_before)
        lines.append(f"this split of this corpus was opened before by: {names}")
    return "\n".join(lines)


def replay(number: int, view: "Replay") -> str:
    """Whether the curves are the same, and what else differs from the recorded run."""
    verdict = "identical" if view.identical else "DIFFERENT"
    lines = [f"trial {number}: {len(view.recorded)} evaluations, {verdict} to what was recorded"]
    lines += [
        f"  {name} differs: {then or 'not recorded'} then, {now} now"
        for name, (then, now) in view.differs.items()
    ]
    return "\n".join(lines)


def trials_csv(views: Sequence[TrialView]) -> str:
    """The trials as CSV: the columns of `results.flat_columns`."""
    output = io.StringIO()
    writer = csv.DictWriter(output, flat_columns(views), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat_rows(views))
    return output.getvalue().rstrip("\n")


def training_document(result: "TrialResult", dev_loss_ci95: Sequence[float]) -> dict[str, Any]:
    """The JSON document of `train`."""
    return {
        "dev_loss": result.dev_loss,
        "dev_loss_ci95": dev_loss_ci95,
        "final_dev_loss": result.final_dev_loss,
        "dev_loss_unseen": result.dev_loss_unseen,
        "train_loss": result.train_loss,
        "parameters": result.parameters,
        "steps": result.steps,
        "examples": result.examples,
        "train_seconds": result.train_seconds,
        "steps_per_second": result.steps_per_second,
        "curve": [[e.examples, e.dev_loss, e.seconds] for e in result.curve],
    }


def corpus_document(words: Corpus, split_seed: int, block_size: int) -> dict[str, Any]:
    """The JSON document of `corpus`; of the test split it has only the number of words."""
    parts = split(words, split_seed)
    data = Dataset.from_corpus(words, split_seed).contexts(block_size)
    seen = set(parts.train)
    return {
        "name": words.name,
        "words": len(words.words),
        "unique_words": len(set(words.words)),
        "vocabulary": words.vocabulary,
        "sha256": words.fingerprint,
        "block_size": block_size,
        "splits": {
            name: {
                "words": len(part),
                "examples": counted.examples,
                "unique_contexts": len(counted.contexts),
            }
            for name, part, counted in (
                ("train", parts.train, data.train),
                ("dev", parts.dev, data.dev),
            )
        }
        | {"test": {"words": parts.test_words}},
        "dev_words_seen_in_train": sum(word in seen for word in parts.dev),
        "notes": list(words.notes),
    }


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def confirmation(view: "Confirmation") -> str:
    """The confirmation table, the optimism of the search, and the ensemble."""
    rows = table(
        ("trial", "searched", "confirmed", "sd", "behind the winner (95% over words)", "seconds"),
        (
            (
                row["trial"],
                row["searched_dev_loss"],
                row["dev_loss_mean"],
                row["dev_loss_sd"],
                f"{row['behind_winner']:.4f} ({_span(row['behind_winner_ci95'])})",
                f"{row['seconds_mean']:.1f}",
            )
            for row in view.candidates
        ),
    )
    lines = [
        f"{view.study}: the winner is trial {view.winner['trial']}, dev loss "
        f"{view.winner['dev_loss_mean']:.4f} (mean of {view.winner['seeds']} seeds; 95% interval "
        f"over words {_span(view.winner['dev_loss_ci95'])})",
        rows,
    ]
    if view.optimism is not None:
        lines.append(
            f"the search's optimism about its best, searched minus confirmed: {view.optimism:+.4f} "
            f"({format_seed_interval(view.optimism_ci95)})"
        )
    if view.ensemble is not None:
        lines += _ensemble(view.ensemble)
    if view.announced_seconds is not None:
        lines.append(
            f"took {format_duration(view.seconds)} "
            f"(announced {format_duration(view.announced_seconds)})"
        )
    return "\n".join(lines)


def _ensemble(view: Mapping[str, Any]) -> list[str]:
    """An ensemble as chosen, and its cross-fitted loss, which is fairer."""
    return [
        f"ensemble of {len(view['members'])} models: dev loss {view['dev_loss']:.4f} (95% interval "
        f"over words {_span(view['dev_loss_ci95'])}), too good: dev chose it",
        f"  each half of the dev words by the other half's choice: {view['crossed_dev_loss']:.4f} "
        f"({_span(view['crossed_dev_loss_ci95'])})",
        "  the study file names it the winner: `test` opens the split for it"
        if view["winner"]
        else "  `test` does not use it: the study file names no ensemble as the winner ([confirm] "
        "ensemble)",
    ]


def mixtures(view: "MixtureTable") -> str:
    """The paper's table: networks, and the same ones mixed with an n-gram."""
    rows = table(
        ("", "n", "hidden", "features", "direct", "mix", "share", "dev loss", "perplexity"),
        (
            (
                row.name,
                row.n,
                row.hidden_width,
                row.embedding_size,
                _yes(row.direct),
                _yes(row.mixed),
                f"{row.weight:.2f}" if row.mixed else "",
                row.dev_loss,
                f"{row.dev_perplexity:.3f}",
            )
            for row in view.rows
        ),
    )
    how = "fitted on dev for each network" if view.weight_fitted else "given"
    return (
        f"{view.study}: networks, and mixed with an interpolated {view.order}-gram (alone: dev "
        f"{view.ngram_dev_loss:.4f}); their share {how}; one seed each, no intervals\n{rows}"
    )


def _yes(true: bool) -> str:
    return "yes" if true else "no"
