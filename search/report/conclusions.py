"""What the end of the report says: the confirmation, the test split, how to reproduce the study."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from search.evaluation.winner import describe_ensemble, describe_winner
from search.formatting import command
from search.report.facts import ReportData
from search.spec import toml_writer
from search.spec.study_spec import StudySpec
from search.study.study import config_file
from search.trials.history import OpeningView


def context(facts: ReportData) -> dict[str, Any]:
    """The values of the template conclusions.html."""
    return {
        "candidates": _candidates(facts),
        "ensemble": _ensemble(facts),
        "opened": facts.opening is not None,
        "test_tiles": _test_tiles(facts.opening),
        "opened_before": ", ".join(
            f"{o.study} ({_when(o.claimed_at)})" for o in facts.opened_before
        ),
        "dependencies": _dependencies(facts),
        "definition": definition(facts.study.spec),
        "config": config_file(facts.study, facts.winner.config) if facts.winner else "",
        "commands": _commands(facts),
    }


def _candidates(facts: ReportData) -> list[list[Any]]:
    return [
        [
            str(each.trial),
            each.searched_dev_loss,
            each.dev_loss_mean,
            each.dev_loss_sd,
            _interval(each.dev_loss_mean_ci95),
            each.seeds,
        ]
        for each in facts.confirmed
    ]


def _interval(ci95: Sequence[float] | None) -> str:
    return "-" if ci95 is None else f"{ci95[0]:.4f} to {ci95[1]:.4f}"


def _ensemble(facts: ReportData) -> str:
    """The ensemble that was chosen or asked for, and whether it is the winner; "" without one."""
    best = facts.status.best
    return "" if best is None or best.ensemble is None else describe_ensemble(best.ensemble)


def _test_tiles(opening: OpeningView | None) -> list[tuple[str, str, str]]:
    """(what, value, remark) of the evaluated test split; [] before that."""
    if opening is None or opening.result is None:
        return []
    result: Mapping[str, Any] = opening.result
    low, high = result["test_loss_ci95"]
    unseen = result.get("test_loss_unseen")
    opened_for = describe_winner(opening.trial, result["per_model"])
    return [
        ("test loss", f"{result['test_loss']:.4f}", f"95 % interval {low:.4f} to {high:.4f}"),
        ("on unseen words", f"{unseen:.4f}" if unseen is not None else "-", "not in train"),
        ("opened", _when(opening.claimed_at), f"for {opened_for}, only once"),
    ]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _dependencies(facts: ReportData) -> list[tuple[str, Any]]:
    """Corpus, seeds and versions, and of the winner also threads, device and checkpoint."""
    study, won, best = facts.study, facts.winner, facts.status.best
    rows: list[tuple[str, Any]] = [
        ("study", study.name),
        ("corpus", study.corpus_name),
        ("corpus fingerprint (SHA-256)", study.fingerprint),
        *([("began from study", began)] if (began := study.spec.began_from) else []),
        ("study seed, split seed", f"{study.spec.study.seed}, {study.spec.study.split_seed}"),
        *((f"version of {name}", versions) for name, versions in _versions(facts).items()),
    ]
    if won is not None and best is not None:
        model = "first fresh seed's" if best.confirmed else "searched"
        rows += [
            ("winner's training seed, as searched", str(won.training_seed)),
            ("winner's threads, device, as searched", f"{won.threads}, {won.device}"),
            (f"winner's {model} checkpoint (SHA-256)", best.checkpoint_sha256),
        ]
    return rows


def _commands(facts: ReportData) -> dict[str, str]:
    name, won = facts.study.name, facts.winner
    reproduce = [command("run", f"{name}.toml")]
    if won is not None:
        reproduce += [
            f"{command('replay', name, str(won.trial))}    # from its storage: bit for bit",
            f"makemore-search train winner.toml --seed {won.training_seed} --threads {won.threads}",
        ]
    return {
        "confirm": command("confirm", name),
        "test": command("test", name),
        "reproduce": "\n".join(reproduce),
    }


def definition(spec: StudySpec) -> str:
    """The study file with every default filled in."""
    sections = spec.as_file()
    del sections["notify"]  # without its address it says nothing
    return toml_writer.document({name: values for name, values in sections.items() if values})


def _versions(facts: ReportData) -> dict[str, str]:
    """The versions that the attempts were trained with; several where workers differed."""
    versions: dict[str, set[str]] = {}
    for attempt in facts.attempts:
        for name, version in attempt.versions.items():
            versions.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(each)) for name, each in sorted(versions.items())}
