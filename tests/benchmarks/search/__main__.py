"""A bench for searching: `python -m tests.benchmarks.search VERB ...`, from the repository root.

`side-by-side` runs ways of searching in turn, each from a fresh start for the same wall time on
the same cores, seed by seed, and keeps every run in `live/CORPUS.json`. The same command goes on
where it stopped; `--runs 1` does the next missing run alone, and exits 3 when none is missing.
`summary` tells what was found on each corpus, and tests over all of them:

    side-by-side --corpus names --seeds 1,2,3,4,5,6,7,8,9,10,11,12
    side-by-side --corpus latvian-20000 --seeds 1,2,3,4,5,6 --runs 1
    summary tests/benchmarks/search/live/*.json --plots build/plots

Seconds count from the command, the start of processes included; kernels are compiled and an Optuna
study is created before. Any dev evaluation of any trial counts as found when it ends; a second
table counts trials that ran to their end only. What each contender is, and what tuning it got,
stands in `contenders.py` and under the table. Needs the extra `bench` (Ray Tune, matplotlib,
pyspellchecker).

`word-lists` makes the lists of words that other packages hold. `record` trains random
configurations of the default space on them to their end and keeps the learning curves, one table a
list under `tables/`; a curve is decided by its index alone, and the same command goes on where it
stopped. `replay` has tables searched again on virtual time by samplers and pruners, two workers and
forty seeds, and gives the verdict that `replay.py` fixes beforehand; raw results are kept, and
again the same command goes on. Algorithms are designed on three tables and judged on the others:

    word-lists -o build/words
    record --curves 200 --workers 2
    record --curves 200 --workers 2 --third     trials a third as long, for replay's `third`
    replay
    replay tpe/none gp/none random/asha --seeds 12 --corpora towns-cs
    replay --held-back

`record-experience` trains the configurations that a new study begins with on four corpora; what was
good on corpora of a study's size comes first in its list (`search/algorithms/experience.py`).

`recorded-networks` has samplers search tables of networks that others trained, and ranks them:

    recorded-networks --seeds 20
"""

import argparse
import signal

from tests.benchmarks.search import (
    fit_forecast,
    record,
    record_experience,
    recorded_networks,
    replay,
    side_by_side,
    summary,
    word_lists,
)

VERBS = {
    "word-lists": word_lists,
    "record": record,
    "record-experience": record_experience,
    "fit-forecast": fit_forecast,
    "recorded-networks": recorded_networks,
    "replay": replay,
    "side-by-side": side_by_side,
    "summary": summary,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True)
    for name, module in VERBS.items():
        verb = verbs.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(verb)
        verb.set_defaults(main=module.main)
    given = parser.parse_args()
    # A shell starts background jobs deaf to Ctrl-C, which is what ends the contenders.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given.main(given)


if __name__ == "__main__":
    main()
