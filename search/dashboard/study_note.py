"""The study's note: the text about a study in the dashboard.

A note is stored in attributes of the study, which every request of the dashboard reads, so it is
short and is written only when it changes: at the end of a run, and once the test split is opened.
The attributes are optuna-dashboard's; its own `save_note` would have every launcher load the whole
dashboard, which takes as long as torch.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from makemore_core.data.printable import printable
from search.evaluation.baselines import Baselines, baselines, compare_with_counts, store_baselines
from search.evaluation.winner import describe_best, describe_winner, remarks_on
from search.paths import DataDir
from search.retry import retry_storage
from search.storage.database import Storage
from search.study.study import StoredStudy
from search.trials import confirmations, history, results
from search.trials.confirmations import Candidate
from search.trials.history import OpeningView
from search.trials.results import BestView

MAX_CONFIRMED = 5
VERSION, PART = "dashboard:note_ver", "dashboard:note_str:"
MAX_PART = 2045
"""Characters of an attribute that has a part of the note."""
METRIC_NAMES, METRIC = "study:metric_names", ["dev loss"]
"""What Optuna's own figures call the objective (`Study.set_metric_names`)."""


@retry_storage
def write_note(storage: Storage, study: StoredStudy, data_dir: DataDir) -> None:
    """Writes the note if it has changed."""
    own, _ = history.openings(storage, study)
    confirmed = confirmations.candidates(storage, study)
    best = results.best(storage, study)
    others = baselines(storage, study, data_dir)
    store_baselines(storage, study, others)
    body = note(study, others, best, confirmed, own)
    if study.lost:
        return
    attributes = storage.optuna.get_study_system_attrs(study.optuna_id)
    if attributes.get(METRIC_NAMES) != METRIC:
        storage.optuna.set_study_system_attr(study.optuna_id, METRIC_NAMES, METRIC)
    for key, value in changed_attributes(attributes, body).items():
        storage.optuna.set_study_system_attr(study.optuna_id, key, value)


def changed_attributes(attributes: Mapping[str, Any], body: str) -> dict[str, Any]:
    """The attributes to set so that a study's note is this text; none if it is so already."""
    parts = [body[start : start + MAX_PART] for start in range(0, len(body), MAX_PART)]
    former = sum(key.startswith(PART) for key in attributes)
    parts += [""] * (former - len(parts))  # what is left of a longer one
    values = {f"{PART}{index}": part for index, part in enumerate(parts)}
    if all(attributes.get(key) == value for key, value in values.items()):
        return {}
    return values | {VERSION: attributes.get(VERSION, 0) + 1}


def note(
    study: StoredStudy,
    others: Baselines,
    best: BestView | None,
    confirmed: Sequence[Candidate],
    opening: OpeningView | None,
) -> str:
    """The note as Markdown; it has the test score only once the test split is opened."""
    spec = study.spec
    return "\n".join(
        [
            f"## {markdown(study.name)}",
            "",
            "Searches the hyperparameters of the network of Bengio et al. 2003 "
            "(makemore's MLP). Losses are nats per character on the dev split; lower is better.",
            "",
            f"- corpus **{markdown(study.corpus_name)}**, fingerprint `{study.fingerprint}`, "
            f"split seed {spec.study.split_seed}",
            f"- budget: {spec.budget.trials} trials of {spec.budget.examples:,} examples; "
            f"sampler {spec.sampler.kind}, pruner {spec.pruner.kind}, seed {spec.study.seed}",
            "",
            *_winner(best),
            "",
            *_losses(others, best),
            "",
            *_confirmation(confirmed),
            "",
            f"**Test split**: {describe_opening(opening)}",
        ]
    )


def _winner(best: BestView | None) -> list[str]:
    if best is None:
        return ["**Winner**: none yet; no trial is complete."]
    return [
        f"**Winner**: trial {best.trial}, {describe_best(best)}.",
        *[f"\n{remark[0].upper()}{remark[1:]}." for remark in remarks_on(best)],
    ]


def _confirmation(confirmed: Sequence[Candidate]) -> list[str]:
    if not confirmed:
        return [
            "**Confirmation**: none yet; "
            "`makemore-search confirm` retrains the best on fresh seeds."
        ]
    rows = [
        f"| {c.trial} | {c.searched_dev_loss:.4f} | {c.dev_loss_mean:.4f} "
        f"| {'' if c.dev_loss_sd is None else f'{c.dev_loss_sd:.4f}'} | {c.seeds} |"
        for c in confirmed[:MAX_CONFIRMED]
    ]
    return [
        "**Confirmation** on fresh seeds, the winner first:",
        "",
        "| trial | as searched | mean dev loss | sd | seeds |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _losses(others: Baselines, best: BestView | None) -> list[str]:
    name = "" if best is None else f"trial {best.trial}"
    rows = [
        (f"the winner, {name}, confirmed on fresh seeds", best and best.dev_loss_mean),
        (f"the winner, {name}, as searched (one seed)", best and best.dev_loss),
        ("the lecture's best", others.lecture),
        *((f"{name} (Kneser-Ney, exact)", loss) for name, loss in others.named),
    ]
    against = "" if best is None else compare_with_counts(best.loss, others)
    return [
        "| | dev loss |",
        "|---|---|",
        *[f"| {name} | {loss:.4f} |" for name, loss in rows if loss is not None],
        *["", f"The best trial is {against}."] * bool(against),
    ]


def markdown(text: str) -> str:
    r"""Text with Markdown's special characters escaped, so that none of it is markup or a link.

    >>> print(markdown("adam [lr] <b>"))
    adam \[lr\] \<b\>
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(text))


def describe_opening(opening: OpeningView | None) -> str:
    """Whether the test split is sealed, or its result."""
    if opening is None:
        return "sealed; not evaluated for this study."
    if opening.result is None or opening.evaluated_at is None:
        return "opened; not evaluated yet."
    low, high = opening.result["test_loss_ci95"]
    opened_for = describe_winner(opening.trial, opening.result["per_model"])
    when = datetime.fromtimestamp(opening.evaluated_at, UTC).isoformat(timespec="seconds")
    return (
        f"opened once, {when}, for {opened_for}: test loss "
        f"{opening.result['test_loss']:.4f} (95 % interval {low:.4f} to {high:.4f})."
    )
