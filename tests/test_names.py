"""Names in the code: the field's standard terms, one word for one thing.

Text for people is formatted or described, a bound is a MAX or a MIN, and a check that raises
ensures something.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import makemore_core
import search

PACKAGES = [Path(str(package.__file__)).parent for package in (makemore_core, search)]

REPLACED_MODULES = """
nursery shelf stores rivals surroundings ledger objective quick_trials trial_rows gate login
dashboard_layers illustration reporting web plain_model report_verdict report_facts confirmation
progress show moving copying creation stored_corpora preview mixing believing looking managing
lessons launching toml intervals space pruning reference draws draw_kernels layout optimiser
local_launcher ray_launcher auto_range
"""

REPLACED_CLASSES = """
Standing Bench Interruption Trained Pace Enough Trouble Deaf Lookout QuickStorage Identified Rivals
Ended Shelf Store BucketStore OneStudy EveryStudy RunningWorker Nursery RemoteWorker Course Gallery
Illustrator Pictures PlainModel Recorded RecordView Interval Opening StorageUnusable WorkersDying
Moved MixTable Draws BlockData
"""

REPLACED_FUNCTIONS = """
patient insist leave_soon locked_flags neediest still_neediest spent claim_patiently beat beaten
make_trial settle_slot outcome_of_killed unborn rivals_at note_audit stint take_one begin_log
tell_the_launcher_of_trouble stops compares holds described settled goes_with_the_corpus of_corpus
may_be resolved adopted kept_corpus kept drop_unless_named shelf_of put_all drop_the_rest sweep
records recorded_attempt all_names ahead foreseen rehearse death_told greedy crossed_nats
surroundings differing why_no_bigram others wanted ask_to_end last_words note_end count_death
pass_on_notices connected room go_on_counting farewell hardened known_hosts
inert kept_whole without_curves without_migration reasoned illustrate named_in plane bend around
shaped say_what_next same_place until_the_end no_way_through problem problems at_block_size
expectation arithmetic steps_in_a_block draws_of take_loss folding_pays usual_rows by_word left_over
smoothed may_pass
"""

REPLACED_CONSTANTS = """
LEAVING_SECONDS BEAT_SECONDS STARTUP SIZE SIZES DROPOUT_OF_A_SIZE AROUND_THE_MIDDLE SOONEST
GOES_WITH_THE_CORPUS MAY_CHANGE HALF CHILDREN LINGER_SECONDS WAY STOPS LEAVES PURPOSE QUIET
NO_WAY_THROUGH HALVINGS FRUITLESS
"""

RULES = {
    "R1: text for people: format_*, describe_*, *_text, description; a callback: on_*": (
        r"(.*_)?(told|tell|tells)(_.*)?"
    ),
    "R2: an upper bound: MAX_*, max_*": (r"(.*_)?(MOST|LARGEST|LONGEST)(_.*)?|most(_.*)?"),
    "R3: a lower bound: MIN_*, min_*": (r"(.*_)?(FEWEST|SHORTEST)(_.*)?|fewest(_.*)?"),
    "R4: a check that raises: ensure_*, check_*": r"refuse_.*",
}
"""Held by every name that is given: of modules, classes, functions, parameters and variables."""

EXAMPLES = {
    "R1": ["told", "_told", "tell", "told_seconds", "_told_at", "death_told"],
    "R2": ["MOST_LINES", "MOST", "LONGEST_SHARE", "most_rows", "most"],
    "R3": ["FEWEST_WORDS", "SHORTEST_PAUSE"],
    "R4": ["refuse_drift", "_refuse_filled"],
}


class Name(NamedTuple):
    """A name where it is given to something."""

    text: str
    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind} {self.text}"


@functools.cache
def names() -> tuple[Name, ...]:
    """Returns every name that the two packages give."""
    return tuple(_names())


def _names() -> Iterator[Name]:
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            place = path.relative_to(package.parent).as_posix()
            yield Name(path.parent.name if path.stem == "__init__" else path.stem, "module", place)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            constants = {id(target) for target in _module_level_targets(tree)}
            for node in ast.walk(tree):
                yield from _names_of(node, place, constants)


def _module_level_targets(tree: ast.Module) -> Iterator[ast.expr]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            yield from statement.targets
        elif isinstance(statement, ast.AnnAssign):
            yield statement.target


def _names_of(node: ast.AST, place: str, constants: set[int]) -> Iterator[Name]:
    where = f"{place}:{getattr(node, 'lineno', 0)}"
    match node:
        case ast.ClassDef(name=name):
            yield Name(name, "class", where)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield Name(name, "function", where)
        case ast.arg(arg=name):
            yield Name(name, "parameter", where)
        case ast.alias(asname=str(name)):
            yield Name(name, "variable", where)
        case ast.Name(id=name, ctx=ast.Store()):
            yield Name(name, "constant" if id(node) in constants else "variable", where)
        case ast.Attribute(attr=name, ctx=ast.Store()):
            yield Name(name, "variable", where)


@pytest.mark.parametrize("rule", RULES)
def test_a_name_keeps_the_rules(rule: str) -> None:
    """No name of the two packages breaks a rule of naming."""
    pattern = re.compile(RULES[rule])
    assert [] == [str(name) for name in names() if pattern.fullmatch(name.text.lstrip("_"))]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_knows_what_breaks_it(rule: str) -> None:
    """Each rule finds the names that it was made for, and lets plain English pass."""
    pattern = re.compile(RULES[rule])
    assert all(pattern.fullmatch(name.lstrip("_")) for name in EXAMPLES[rule[:2]])
    assert not any(map(pattern.fullmatch, ("telling_apart", "utmost", "longest", "refused")))


@pytest.mark.parametrize(
    ("kind", "replaced"),
    [
        ("module", REPLACED_MODULES),
        ("class", REPLACED_CLASSES),
        ("function", REPLACED_FUNCTIONS),
        ("constant", REPLACED_CONSTANTS),
    ],
)
def test_a_replaced_name_does_not_come_back(kind: str, replaced: str) -> None:
    """What has got the field's own name is not called by its former one."""
    former = set(replaced.split())
    assert [] == [
        str(name) for name in names() if name.kind == kind and name.text.lstrip("_") in former
    ]
