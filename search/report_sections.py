"""The sections of the report: what was found, in words, tables and places for figures."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scipy.special import stdtrit

from search.confirm import Candidate
from search.display import told_seconds
from search.history import OpeningView
from search.html import block, listing, paragraph, plot, section, table, text, tiles
from search.plots import MOST_CURVES
from search.plots_space import MOST_LINES
from search.report_facts import Facts

TOP = 10


def lead(facts: Facts) -> str:
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
        gap = facts.others.bigram - best.dev_loss
        gain = f", {abs(gap):.4f} {'below' if gap >= 0 else 'above'} the bigram"
    return f"{about}: its best dev loss is {best.dev_loss:.4f} nats per character{gain}."


def headline(facts: Facts) -> str:
    """Tiles with the numbers that matter most."""
    status, best, others = facts.status, facts.status.best, facts.others
    rows = []
    if best is not None:
        unseen = best.dev_loss_unseen
        differs = unseen is not None and unseen != best.dev_loss
        remark = f"trial {best.trial}, one seed"
        remark += f"; {unseen:.4f} on words not in train" if differs else ""
        rows.append(("best dev loss", f"{best.dev_loss:.4f}", remark))
    if facts.confirmed:
        first = facts.confirmed[0]
        remark = f"trial {first.trial}, mean of {first.seeds} fresh seeds"
        rows.append(("confirmed", f"{first.dev_loss_mean:.4f}", remark))
    if others.bigram is not None:
        rows.append(("bigram", f"{others.bigram:.4f}", "Kneser-Ney, same split"))
    if others.lecture is not None:
        rows.append(("the lecture's best", f"{others.lecture:.2f}", "same corpus and split"))
    counts = status.trials
    remark = (
        f"{counts['complete']:,} complete, {counts['pruned']:,} pruned, {counts['failed']:,} failed"
    )
    rows.append(("trials", f"{status.budget['finished']:,} of {status.budget['trials']:,}", remark))
    rows.append(
        ("working time", told_seconds(status.elapsed_seconds), f"the study is {status.state}")
    )
    tested = facts.opening is not None and facts.opening.result is not None
    rows.append(("test split", "opened" if tested else "sealed", "see below"))
    why = facts.others.why_no_bigram
    missing = paragraph(f"No bigram to compare with: {text(why)}.", "notice") if why else ""
    return tiles(rows) + missing


def course(facts: Facts) -> str:
    """How the search went."""
    shown = _shown(facts, MOST_CURVES)
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
            "Learning curves, losses on a log scale. A pruned trial's curve ends where the pruner "
            f"stopped it.{shown}",
        ),
        plot(
            "effort",
            "Training time by state, and attempts that did not complete by reason",
            "Where the training time went, and why attempts did not complete.",
        ),
    )


def _shown(facts: Facts, most: int) -> str:
    longest = max((facts.status.trials[state] for state in ("complete", "pruned")), default=0)
    return f" At most {most:,} of each kind are drawn." if longest > most else ""


def findings(facts: Facts, shares: Mapping[str, float]) -> str:
    """What the search says about the hyperparameters."""
    complete = facts.status.trials["complete"]
    if not complete:
        return ""
    some = f" {MOST_LINES:,} of {complete:,} are drawn." if complete > MOST_LINES else ""
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


def _top(facts: Facts) -> str:
    complete = sorted(
        (a for a in facts.attempts if a.outcome == "complete" and a.dev_loss is not None),
        key=lambda a: a.dev_loss or math.inf,
    )[:TOP]
    names = [n for n, kind in facts.study.spec.search.items() if kind.distribution() is not None]
    header = ["trial", "dev loss", "unseen words", *(n.replace("_", " ") for n in names), "time"]
    rows = [
        [
            str(a.trial),
            a.dev_loss,
            a.dev_loss_unseen,
            *(a.config.get(n) for n in names),
            told_seconds(a.seconds or 0),
        ]
        for a in complete
    ]
    return table("The best complete trials", header, rows, best=0)


def winner(facts: Facts) -> str:
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
                listing(facts.samples),
            ]
        )
    return section(
        "winner",
        f"The winner: trial {won.trial}",
        paragraph(
            f"{won.parameters or 0:,} parameters; trained on {won.examples or 0:,} examples in "
            f"{told_seconds(won.seconds or 0)}; "
            f"{'the winner of the confirmation' if facts.confirmed else 'the best dev loss'}."
        ),
        plot(
            "winner-curve",
            "The winner's dev and train loss, and its learning rate",
            "Dev and train loss (the latter as averaged over batches while training), and the "
            "learning rate below.",
        ),
        picture,
    )


def confirmation(facts: Facts) -> str:
    """The best configurations on fresh seeds, or that nobody has looked."""
    if not facts.confirmed:
        return section(
            "confirmation",
            "Confirmation",
            paragraph(
                "Not confirmed yet. The best of many noisy losses is too good to be true; "
                f"<code>makemore-search confirm {text(facts.study.name)}</code> trains the best "
                "configurations again on fresh seeds and says by how much.",
                "notice",
            ),
        )
    rows = [
        [str(c.trial), c.searched_dev_loss, c.dev_loss_mean, c.dev_loss_sd, _interval(c), c.seeds]
        for c in facts.confirmed
    ]
    header = ["trial", "as searched", "mean", "sd over seeds", "95 % interval of the mean", "seeds"]
    return section(
        "confirmation",
        "Confirmation",
        paragraph(
            f"Trial {facts.confirmed[0].trial} has the lowest mean dev loss over fresh seeds, "
            "which the search never saw."
        ),
        plot(
            "confirmed",
            "Confirmed dev losses with their intervals, beside the searched ones",
            "Each candidate's mean over fresh seeds, and the loss that the search found.",
        ),
        table("Candidates, the winner first", header, rows, best=0),
    )


def half_interval(candidate: Candidate) -> float | None:
    """Half of the 95 % t-interval of a mean over seeds; None with a single seed."""
    if candidate.dev_loss_sd is None:
        return None
    quantile = float(stdtrit(candidate.seeds - 1, 0.975))
    return quantile * candidate.dev_loss_sd / math.sqrt(candidate.seeds)


def _interval(candidate: Candidate) -> str:
    half = half_interval(candidate)
    mean = candidate.dev_loss_mean
    return "one seed: none" if half is None else f"{mean - half:.4f} to {mean + half:.4f}"


def test_split(facts: Facts) -> str:
    """What the test split said, once; or that it is sealed."""
    opening = facts.opening
    before = [f"{text(o.study)} ({_when(o.claimed_at)})" for o in facts.opened_before]
    warning = (
        paragraph(f"Other studies opened this split of this corpus before: {', '.join(before)}.")
        if before
        else ""
    )
    if opening is None or opening.result is None:
        state = "is still sealed" if opening is None else "was opened but not yet evaluated"
        told = (
            f"The test split {state}. It is looked at once, for the winner, by "
            f"<code>makemore-search test {text(facts.study.name)}</code>; that closes the study."
        )
        return section("test", "The test split", paragraph(told, "notice sealed"), warning)
    return section("test", "The test split", _tested(opening, opening.result), warning)


def _tested(opening: OpeningView, result: Mapping[str, Any]) -> str:
    low, high = result["test_loss_ci95"]
    unseen = result.get("test_loss_unseen")
    rows = [
        ("test loss", f"{result['test_loss']:.4f}", f"95 % interval {low:.4f} to {high:.4f}"),
        ("on unseen words", f"{unseen:.4f}" if unseen is not None else "-", "not in train"),
        ("opened", _when(opening.claimed_at), f"for trial {opening.trial}, once and for good"),
    ]
    return tiles(rows)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def reproduce(facts: Facts, definition: str, config: str) -> str:
    """Versions, seeds, fingerprints and commands."""
    study, won = facts.study, facts.winner
    name = text(study.name)
    rows: list[tuple[str, Any]] = [
        ("study", study.name),
        ("corpus", study.corpus_name),
        ("corpus fingerprint (SHA-256)", study.fingerprint),
        ("study seed, split seed", f"{study.spec.study.seed}, {study.spec.study.split_seed}"),
        *((f"version of {key}", told) for key, told in _versions(facts).items()),
    ]
    if won is not None:
        rows += [
            ("winner's training seed", str(won.training_seed)),
            ("winner's threads, device", f"{won.threads}, {won.device}"),
            ("winner's checkpoint (SHA-256)", won.checkpoint_sha256),
        ]
    commands = [f"makemore-search run {study.name}.toml"]
    if won is not None:
        commands += [
            f"makemore-search replay {study.name} {won.trial}    # from its storage: bit for bit",
            f"makemore-search train winner.toml --seed {won.training_seed} --threads {won.threads}",
        ]
    return section(
        "reproduce",
        "How to reproduce it",
        table("What it rests on", ("", ""), rows),
        block("\n".join(commands)),
        f"<details><summary>The study file, {name}.toml</summary>{block(definition)}</details>",
        f"<details open><summary>The winner, winner.toml</summary>{block(config)}</details>"
        if config
        else "",
        paragraph("Bits are promised for the same machine, versions and thread count."),
    )


def _versions(facts: Facts) -> dict[str, str]:
    """What the attempts were trained with; more than one where workers differed."""
    found: dict[str, set[str]] = {}
    for attempt in facts.attempts:
        for name, version in attempt.versions.items():
            found.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}
