"""The compiled kernels on disk: whatever is wrong with them there means compiling, said once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import config

from makemore_core.training import kernel_cache
from makemore_core.training.kernel_cache import KernelCache

SOURCE = "def double(x):\n    return x + x\n"


class Program:
    """A module with one kernel, of which any number of processes might be at work."""

    def __init__(self, root: Path) -> None:
        self.source = root / "program" / "small.py"
        self.source.parent.mkdir(parents=True)
        self.write(SOURCE)

    def write(self, source: str) -> None:
        self.source.write_text(source)
        kernel_cache._hash_of.cache_clear()

    def is_loaded(self, expected: float = 4.0) -> bool:
        """Runs the kernel as a new process would; whether it came from the disk.

        Numba keeps the globals of a kernel without a module, so they must not hold the builtins:
        a doctest before may have left any object there, as `_`.
        """
        names: dict[str, Any] = {"__builtins__": {}}
        exec(compile(self.source.read_text(), self.source, "exec"), names)
        made: Any = numba.njit(names["double"])
        made._cache = KernelCache(names["double"])
        KernelCache._has_warned = False
        assert expected == made(np.float32(2.0))
        return bool(made.stats.cache_hits)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Program(tmp_path)
    KernelCache._has_warned = False


def the_file(root: Path) -> Path:
    (found,) = root.rglob("*.nbc")
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(os.urandom(5_000)),
    lambda path: path.chmod(0o666),
    cut,
    flip,
    make_directory,
    link_nowhere,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced(
    program: Program, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    """Empty, cut, garbled, no file at all, or one that anybody may have written: one line."""
    assert not program.is_loaded()
    assert program.is_loaded()
    assert [] == caplog.messages
    damage(the_file(program.source.parent))

    assert not program.is_loaded()
    assert program.is_loaded()
    assert 1 == len(caplog.messages), caplog.messages
    assert str(the_file(program.source.parent)) in caplog.messages[0]
    assert caplog.messages[0].endswith("compiled anew")


def test_a_kernel_that_was_changed_is_compiled_in_silence(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """The file of its older version makes room for the new one."""
    program.is_loaded()
    program.write(SOURCE.replace("x + x", "x + x + x"))

    assert not program.is_loaded(6.0)
    assert program.is_loaded(6.0)
    assert the_file(program.source.parent)
    assert [] == caplog.messages


def test_where_the_program_cannot_be_written_the_user_s_directory_is_used(
    program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the directory beside the program would be."""
    (program.source.parent / "__pycache__").write_text("")

    assert not program.is_loaded()
    assert program.is_loaded()
    assert the_file(tmp_path / "cache")
    assert 0 == the_file(tmp_path / "cache").parent.stat().st_mode & 0o022
    assert [] == caplog.messages


def nowhere(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (program.source.parent / "__pycache__").write_text("")
    (tmp_path / "cache").write_text("")


def a_full_disk(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel_cache, "_dumps", full)


def no_home(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (program.source.parent / "__pycache__").write_text("")
    monkeypatch.setattr(kernel_cache.platformdirs, "user_cache_dir", lambda _: "~/.cache/it")


def anybody_s(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever may write there could have this program run what he likes."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "named"))
    program.is_loaded()
    the_file(tmp_path / "named").parent.chmod(0o777)


def somebody_s(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "named"))
    program.is_loaded()
    os.chown(the_file(tmp_path / "named").parent, 4711, 4711)


@pytest.mark.parametrize("hindrance", [nowhere, a_full_disk, no_home, anybody_s, somebody_s])
def test_without_a_place_each_start_compiles(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hindrance: Callable[[Program, pytest.MonkeyPatch, Path], None],
) -> None:
    """Nowhere to write, a full disk, no home, somebody else's directory: one line with a way out,
    and no directory of the name `~`."""
    monkeypatch.chdir(tmp_path)
    hindrance(program, monkeypatch, tmp_path)

    assert not program.is_loaded()
    assert 1 == len(caplog.messages), caplog.messages
    assert "NUMBA_CACHE_DIR" in caplog.messages[0]
    assert not Path("~").exists()
    assert [] == list(tmp_path.rglob("*.tmp"))
