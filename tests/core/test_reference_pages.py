"""The reference pages: `pdoc -d google -o build/api makemore_core`."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pdoc
import pytest

import makemore_core

MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.walk_packages(makemore_core.__path__, "makemore_core.")
]


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """The functions, classes and methods that a module itself defines for others."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(found) or inspect.isclass(found):
            yield name, found
        if inspect.isclass(found):
            for inner, method in vars(found).items():
                if inspect.isfunction(method) and not inner.startswith("_"):
                    yield f"{name}.{inner}", method


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_everything_public_says_what_it_is(module: Any) -> None:
    """A docstring for the module, and for each of its functions, classes and methods."""
    assert module.__doc__
    silent = [name for name, found in public(module) if not inspect.getdoc(found)]
    assert [] == [name for name in silent if not is_small_print(module, name)]


def is_small_print(module: Any, name: str) -> bool:
    """Methods of a protocol are said where they are done."""
    owner = getattr(module, name.split(".")[0])
    return "." in name and bool(getattr(owner, "_is_protocol", False))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_raises_says_so(module: Any) -> None:
    """A public function that raises an error of the core itself names it under `Raises:`."""
    for name, found in public(module):
        if not inspect.isfunction(found):
            continue
        source, doc = inspect.getsource(found), inspect.getdoc(found) or ""
        for error in ("ConfigError", "CorpusError", "CheckpointError", "Diverged"):
            assert f"raise {error}(" not in source or error in doc, f"{name}: {error}"


def test_the_pages_can_be_made(tmp_path: Path) -> None:
    """One for each module, without a warning."""
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("makemore_core", output_directory=tmp_path)
    root = tmp_path / "makemore_core"
    pages = {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.html")}
    names = [module.__name__.removeprefix("makemore_core.") for module in MODULES]
    assert {name.replace(".", "/") for name in names} == pages
    assert "suggested" in (root / "lecture" / "lr_range.html").read_text("utf-8")
