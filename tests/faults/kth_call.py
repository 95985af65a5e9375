"""The k-th call of the storage fails: a statement, a commit, or the answer to a commit."""

import random
from collections.abc import Callable

from servers import new_database

from .harness import FaultRun, check, ended, fault

PHASES = {"statement": "statement", "commit": "commit", "answer": "committed"}
KINDS = tuple(PHASES)
"""A statement is lost; a commit is; or a commit is carried out, and its answer is lost."""

IMPATIENT = {"search.retry.RETRY_SECONDS": 0.5}


def strike(place: FaultRun, kind: str, k: int, *, lasting: bool) -> bool:
    """Runs a study whose k-th call fails, once or for good; False if it has fewer calls.

    For good: the run may end in any way but well; the next one, undisturbed, finishes the study.
    """
    struck = fault(PHASES[kind], k, "fail", **({"from": k} if lasting else {}))
    place.constants |= IMPATIENT if lasting else {}
    place.trials, place.examples = 2, 20_000
    place.write_study()
    place.plan(struck)
    run = ended(place.run())
    reached = bool(place.struck())
    assert run.status == 0 or lasting, (k, run)
    if run.status != 0:
        place.plan()
        place.finish()
    check(place)
    return reached


def sweep(
    place: FaultRun, kind: str, lasting: bool, step: int = 1, start: int = 1, most: int = 10_000
) -> int:
    """Strikes at every `step`-th call until a study ends before its turn; how many it struck."""
    struck = 0
    for k in range(start, start + step * most, step):
        root = place.root / f"{kind}-{k}"
        root.mkdir()
        url = f"sqlite:///{root}/runs/studies.db" if place.is_sqlite else new_database(place.server)
        fresh = FaultRun(root, url, server=place.server)
        if not strike(fresh, kind, k, lasting=lasting):
            break
        struck += 1
        for event in fresh.events("fault")[:1]:
            place.note_struck(event["phase"])
    return struck


def scene(kind: str, lasting: bool) -> Callable[[FaultRun, random.Random], None]:
    """A whole sweep, as a scenario of the long suite: about every third call."""

    def act(place: FaultRun, rng: random.Random) -> None:
        assert sweep(place, kind, lasting, step=3, start=rng.randint(1, 3)) > 1

    return act
