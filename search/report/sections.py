"""The sections of the report: what was found, in words, tables and places for figures."""

import math
from collections.abc import Mapping

from search.evaluation.baselines import compare_with_counts
from search.evaluation.winner import remarks_on
from search.formatting import format_duration, format_seed_interval
from search.report.facts import ReportData
from search.report.html import paragraph, plot, section, table, text, tiles, word_list
from search.report.space_plots import MAX_LINES
from search.report.study_plots import MAX_CURVES
from search.trials.ending import describe_end
from search.trials.results import BestView
from search.trials.status import StatusView, describe_audit, format_counts

TOP = 10


def lead(facts: ReportData) -> str:
    """The headline in one sentence."""
    study = facts.study
    about = (
        f"A search for hyperparameters of makemore's MLP (Bengio et al. 2003) on the corpus "
        f"{text(study.corpus_name)}"
    )
    best = facts.status.best
    if best is None:
        return f"{about}. No trial is complete yet."
    gain = ""
    if facts.others.bigram is not None:
        gap = facts.others.bigram - best.loss
        gain = f", {abs(gap):.4f} {'below' if gap >= 0 else 'above'} the bigram"
    against = compare_with_counts(best.loss, facts.others)
    seeds = f"confirmed, {_seeds(best)}" if best.confirmed else "one seed, not confirmed"
    return (
        f"{about}: its winner, trial {best.trial}, has a dev loss of {best.loss:.4f} nats per "
        f"character{gain} ({seeds})." + f" It is {against}." * bool(against)
    )


def _seeds(best: BestView) -> str:
    return "one fresh seed" if best.seeds == 1 else f"mean of {best.seeds} fresh seeds"


def headline(facts: ReportData) -> str:
    """Tiles with the numbers that matter most."""
    status, best, others = facts.status, facts.status.best, facts.others
    rows = []
    if best is not None:
        unseen = best.dev_loss_unseen
        differs = unseen is not None and unseen != best.dev_loss
        if best.confirmed:
            spread = format_seed_interval(best.dev_loss_mean_ci95)
            remark = f"the winner, trial {best.trial}, {_seeds(best)}; {spread}"
            rows.append(("confirmed dev loss", f"{best.loss:.4f}", remark))
        remark = f"trial {best.trial}, one seed{'' if best.confirmed else ', not confirmed'}"
        remark += f"; {unseen:.4f} on words not in train" if differs else ""
        name = "as searched" if best.confirmed else "best dev loss"
        rows.append((name, f"{best.dev_loss:.4f}", remark))
    rows += [
        (name, f"{loss:.4f}", "Kneser-Ney, same split; counts have no noise")
        for name, loss in others.named
    ]
    if others.lecture is not None:
        rows.append(
            (
                "the lecture's best",
                f"{others.lecture:.2f}",
                "same corpus and split; published without an interval",
            )
        )
    remark = ", ".join(
        f"{count:,} {state}"
        for state, count in format_counts(status).items()
        if count or state in ("complete", "pruned", "failed")
    )
    rows.append(("trials", f"{status.budget['finished']:,} of {status.budget['trials']:,}", remark))
    rows.append(
        ("working time", format_duration(status.elapsed_seconds), describe_standing(status))
    )
    tested = facts.opening is not None and facts.opening.result is not None
    rows.append(("test split", "opened" if tested else "sealed", "see below"))
    why = facts.others.why_no_bigram
    missing = paragraph(f"No bigram to compare with: {text(why)}.", "notice") if why else ""
    remarks = remarks_on(best) if best is not None else []
    notices = [paragraph(f"Note: {text(remark)}.", "notice") for remark in remarks]
    return "".join([tiles(rows), missing, *notices])


def describe_standing(status: StatusView) -> str:
    """What ended the study, or that it is under way."""
    return describe_end(status) or f"under way, {status.workers} at work on it"


def progress_section(facts: ReportData) -> str:
    """How the search went."""
    shown, audit = _shown(facts, MAX_CURVES), describe_audit(facts.status)
    return section(
        "course",
        "How the search went",
        plot(
            "history",
            "Dev loss of every trial against its number and against working time, with the best "
            "so far and the losses to beat",
            "Each dot is a trial at its best dev loss, pruned ones included; the line is the best "
            "complete trial so far. The worst quarter may lie above the picture.",
        ),
        plot(
            "curves",
            "Dev loss of the trials against training examples seen",
            "Learning curves, losses on a log scale. A pruned trial's curve ends where it was "
            f"stopped.{shown}",
        ),
        plot(
            "effort",
            "Training time by state, and attempts that did not complete by reason",
            "Where the training time went, and why attempts did not complete."
            + (f" About {audit}." if audit else ""),
        ),
    )


def _shown(facts: ReportData, most: int) -> str:
    longest = max((facts.status.trials[state] for state in ("complete", "pruned")), default=0)
    return f" At most {most:,} of each kind are drawn." if longest > most else ""


def findings(facts: ReportData, shares: Mapping[str, float]) -> str:
    """What the search says about the hyperparameters."""
    complete = facts.status.trials["complete"]
    if not complete:
        return ""
    some = f" {MAX_LINES:,} of {complete:,} are drawn." if complete > MAX_LINES else ""
    importance = (
        plot(
            "importances",
            "Importance of each hyperparameter: "
            + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()),
            "How much each hyperparameter decides whether a complete trial is among the best "
            "(PED-ANOVA). The shares add up to one.",
        )
        if shares
        else paragraph("Too few complete trials to tell how important each hyperparameter is.")
    )
    return section(
        "findings",
        "What matters",
        importance,
        plot(
            "isolation",
            "For each hyperparameter, the best dev loss at each of its values",
            "One hyperparameter at a time: the best complete trial at each value (or in each tenth "
            "of its range), whatever the others were. Grey dots are the trials behind it.",
        ),
        plot(
            "parallel",
            "Parallel coordinates of the complete trials",
            f"Each line is a complete trial.{some} Click a name above to hide or show its lines.",
        ),
        _top(facts),
    )


def _top(facts: ReportData) -> str:
    complete = sorted(
        (a for a in facts.attempts if a.outcome == "complete" and a.dev_loss is not None),
        key=lambda a: math.inf if a.dev_loss is None else a.dev_loss,
    )[:TOP]
    names = [n for n, kind in facts.study.spec.space.items() if kind.distribution() is not None]
    header = ["trial", "dev loss", "unseen words", *(n.replace("_", " ") for n in names), "time"]
    rows = [
        [
            str(a.trial),
            a.dev_loss,
            a.dev_loss_unseen,
            *(a.config.get(n) for n in names),
            format_duration(a.seconds or 0),
        ]
        for a in complete
    ]
    return table("The best complete trials, one seed each", header, rows, best=0)


def _chosen(facts: ReportData) -> str:
    """Why it is the winner, and which of its models is shown."""
    if not facts.confirmed:
        return "the lowest dev loss of the search, not confirmed"
    return (
        "the winner of the confirmation. These and the curve are of the search; the letters and "
        "the words are of the model retrained on the first fresh seed"
    )


def winner(facts: ReportData) -> str:
    """The winning configuration, its curve, its embedding and its words."""
    won = facts.winner
    if won is None:
        return ""
    if facts.model is None:
        picture = paragraph(f"No embedding and no samples: {text(facts.why_no_model)}.", "notice")
    else:
        size = facts.model.embedding.shape[1]
        how = "its two dimensions" if size == 2 else f"the first two of {size} principal components"
        picture = "\n".join(
            [
                "<h3>What it learned of the letters</h3>",
                plot(
                    "embedding",
                    "The characters in the plane of their learned vectors",
                    f"The learned embedding, {how}: characters that lie close together behave "
                    "alike. Vowels in orange; the dot is the end of a word.",
                ),
                "<h3>Words it made up</h3>",
                word_list(facts.samples),
            ]
        )
    return section(
        "winner",
        f"The winner: trial {won.trial}",
        paragraph(
            f"{won.parameters or 0:,} parameters; trained on {won.examples or 0:,} examples in "
            f"{format_duration(won.seconds or 0)}; "
            f"{_chosen(facts)}."
        ),
        plot(
            "winner-curve",
            "The winner's dev and train loss, and its learning rate",
            "Dev and train loss (the latter as averaged over batches while training), and the "
            "learning rate below.",
        ),
        picture,
    )
