"""The end of the report: the confirmation, the test split, and how to reproduce it all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from search.evaluation.winner import describe_ensemble, describe_winner
from search.formatting import command, format_seed_interval
from search.report.facts import ReportData
from search.report.html import code_block, paragraph, plot, section, table, text, tiles
from search.trials.history import OpeningView


def confirmation(facts: ReportData) -> str:
    """The best configurations on fresh seeds, or that nobody has looked."""
    if not facts.confirmed:
        return section(
            "confirmation",
            "Confirmation",
            paragraph(
                "Not confirmed yet. The best of many noisy losses is too good to be true; "
                f"<code>{text(command('confirm', facts.study.name))}</code> trains the best "
                "configurations again on fresh seeds and says by how much.",
                "notice",
            ),
        )
    rows = [
        [
            str(c.trial),
            c.searched_dev_loss,
            c.dev_loss_mean,
            c.dev_loss_sd,
            format_seed_interval(c.dev_loss_mean_ci95),
            c.seeds,
        ]
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
        *_ensemble(facts),
    )


def _ensemble(facts: ReportData) -> list[str]:
    """An ensemble that was chosen or is wanted, and whether it is the winner."""
    best = facts.status.best
    if best is None or best.ensemble is None:
        return []
    return [paragraph(f"Ensemble: {text(describe_ensemble(best.ensemble))}.")]


def test_split(facts: ReportData) -> str:
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
            f"<code>{text(command('test', facts.study.name))}</code>; that closes the study."
        )
        return section("test", "The test split", paragraph(told, "notice sealed"), warning)
    return section("test", "The test split", _tested(opening, opening.result), warning)


def _tested(opening: OpeningView, result: Mapping[str, Any]) -> str:
    low, high = result["test_loss_ci95"]
    unseen = result.get("test_loss_unseen")
    opened_for = describe_winner(opening.trial, result["per_model"])
    rows = [
        ("test loss", f"{result['test_loss']:.4f}", f"95 % interval {low:.4f} to {high:.4f}"),
        ("on unseen words", f"{unseen:.4f}" if unseen is not None else "-", "not in train"),
        ("opened", _when(opening.claimed_at), f"for {opened_for}, once and for good"),
    ]
    return tiles(rows)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def reproduce(facts: ReportData, definition: str, config: str) -> str:
    """Versions, seeds, fingerprints and commands."""
    study, won, best = facts.study, facts.winner, facts.status.best
    name = text(study.name)
    rows: list[tuple[str, Any]] = [
        ("study", study.name),
        ("corpus", study.corpus_name),
        ("corpus fingerprint (SHA-256)", study.fingerprint),
        ("study seed, split seed", f"{study.spec.study.seed}, {study.spec.study.split_seed}"),
        *((f"version of {key}", told) for key, told in _versions(facts).items()),
    ]
    if won is not None and best is not None:
        model = "first fresh seed's" if best.confirmed else "searched"
        rows += [
            ("winner's training seed, as searched", str(won.training_seed)),
            ("winner's threads, device, as searched", f"{won.threads}, {won.device}"),
            (f"winner's {model} checkpoint (SHA-256)", best.checkpoint_sha256),
        ]
    commands = [command("run", f"{study.name}.toml")]
    if won is not None:
        commands += [
            f"{command('replay', study.name, str(won.trial))}    # from its storage: bit for bit",
            f"makemore-search train winner.toml --seed {won.training_seed} --threads {won.threads}",
        ]
    return section(
        "reproduce",
        "How to reproduce it",
        table("What it rests on", ("", ""), rows),
        code_block("\n".join(commands)),
        f"<details><summary>The study file, {name}.toml</summary>"
        f"{code_block(definition)}</details>",
        f"<details open><summary>The winner, winner.toml</summary>{code_block(config)}</details>"
        if config
        else "",
        paragraph("Bits are promised for the same machine, versions and thread count."),
    )


def _versions(facts: ReportData) -> dict[str, str]:
    """What the attempts were trained with; more than one where workers differed."""
    found: dict[str, set[str]] = {}
    for attempt in facts.attempts:
        for name, version in attempt.versions.items():
            found.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}
