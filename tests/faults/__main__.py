"""The long fault suite: `python -m tests.faults`; prints a table, and exits 1 on a broken promise.

Takes about an hour for each database; `--times 0.1` tries every fault about once.
"""

import argparse
import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds `bed` by itself

from servers import new_database, start_server

from tests.faults import kth_call, two_hosts
from tests.faults.harness import FaultRun, NotHere
from tests.faults.scenarios import SCENARIOS, Scenario

NAMED = ("claiming", "asking", "training", "reporting", "checkpointing", "telling")
SWEEPS = [
    Scenario(
        f"the k-th {kind} lost, {'for good' if lasting else 'once'}", kth_call.scene(kind, lasting)
    )
    for kind in kth_call.KINDS
    for lasting in (False, True)
]


def main() -> int:
    """Acts the chosen scenarios out on the chosen databases."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--on", choices=("sqlite", "postgresql"))
    parser.add_argument("--only", nargs="+", help="scenarios whose name has one of these phrases")
    parser.add_argument("--times", type=float, default=1.0, help="share of the repetitions")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wanted = [
        each
        for each in (*SCENARIOS, *two_hosts.SCENARIOS, *SWEEPS)
        if options.only is None or any(phrase in each.name for phrase in options.only)
    ]
    struck: Counter[str] = Counter()
    broken = 0
    print("| fault | database | tried | invariants held | struck |\n|---|---|---|---|---|")
    for database in ("sqlite", "postgresql"):
        if options.on in (None, database):
            broken += act_all(database, wanted, options.times, options.seed, struck)
    missed = [phase for phase in NAMED if not struck[phase]]
    print(f"\nphases that nothing struck: {', '.join(missed) or 'none'}")
    return int(broken > 0 or (bool(missed) and not options.only))


def act_all(
    database: str, wanted: list[Scenario], share: float, seed: int, struck: Counter[str]
) -> int:
    """Acts every scenario on one database and prints its row; returns how many were broken."""
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        root = Path(directory)
        server = start_server(root / "server") if database == "postgresql" else None
        broken = 0
        for each in wanted:
            if database in each.on:
                broken += act_one(root, database, server, each, share, seed, struck)
        if server is not None:
            server.cleanup()
    return broken


def act_one(
    root: Path,
    database: str,
    server: Any,
    scenario: Scenario,
    share: float,
    seed: int,
    struck: Counter[str],
) -> int:
    """One row of the table."""
    times = max(1, round(scenario.times * share))
    held, here, note = 0, Counter[str](), ""
    for turn in range(times):
        place_root = Path(tempfile.mkdtemp(dir=root))
        sqlite = f"sqlite:///{place_root}/runs/studies.db"
        place = FaultRun(
            place_root, sqlite if server is None else new_database(server), server=server
        )
        try:
            scenario.act(place, random.Random(f"{seed}/{scenario.name}/{turn}"))
            held += 1
        except NotHere as error:
            note = f" ({error})"
        except Exception:  # noqa: BLE001  the table has a row for it, and the suite goes on
            traceback.print_exc()
        here.update(place.struck())
    struck.update(here)
    told = ", ".join(f"{phase} {count}" for phase, count in here.items())
    print(f"| {scenario.name} | {database} | {times} | {held}{note} | {told} |", flush=True)
    return int(held < times and not note)


if __name__ == "__main__":
    sys.exit(main())
