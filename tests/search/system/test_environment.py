"""What a trial's bits rest on, and what a replay says when it has changed."""

from pathlib import Path

from sqlalchemy import select, update
from workspace import Workspace

from search.storage import tables
from search.system.environment import code_fingerprint, differences, run_environment


def test_every_attempt_is_recorded_with_them(finished: Workspace) -> None:
    """Versions, our own code and the machine stand beside each attempt."""
    a = tables.attempts
    with finished.storage.read() as connection:
        recorded = connection.execute(select(a.c.versions)).scalars().all()
    assert [dict(run_environment())] * len(recorded) == recorded
    assert {"python", "torch", "numba", "optuna", "code", "machine"} == run_environment().keys()


def test_the_fingerprint_is_of_names_and_contents(tmp_path: Path) -> None:
    """A changed, renamed or new source changes it; nothing else does."""
    package = tmp_path / "package"
    package.mkdir()
    source = package / "one.py"
    source.write_text("x = 1\n")
    first = code_fingerprint([package])
    (package / "notes.txt").write_text("not code")
    assert first == code_fingerprint([package])
    source.write_text("x = 2\n")
    changed = code_fingerprint([package])
    source.rename(package / "two.py")
    renamed = code_fingerprint([package])
    (package / "inner").mkdir()
    (package / "inner" / "three.py").touch()
    assert 4 == len({first, changed, renamed, code_fingerprint([package])})


def test_nothing_differs_from_themselves() -> None:
    """Only what is not as recorded is named; what was not recorded is."""
    assert {} == differences(run_environment())
    assert {"code": (None, run_environment()["code"])} == differences(
        {name: value for name, value in run_environment().items() if name != "code"}
    )


def test_a_replay_names_what_has_changed(finished: Workspace) -> None:
    """Another code or machine is named beside the answer; without a change nothing is."""
    assert {} == finished.json("replay", "tiny", 0)["differs"]
    then = {**run_environment(), "code": "0" * 64}
    with finished.storage.write() as connection:
        connection.execute(update(tables.attempts).values(versions=then))
    assert {"code": ["0" * 64, run_environment()["code"]]} == finished.json("replay", "tiny", 0)[
        "differs"
    ]
    told = finished.cli("replay", "tiny", 0)
    assert "code differs: 000000000000" in told.out
    assert "identical" in told.out
