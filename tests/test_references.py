"""What the tests name of the program exists: in strings, in imports, in what they replace.

A fault, a constant or a patched function that is named in a string breaks silently when the
program is renamed, and most of what uses one runs only in the long suites and the benchmarks.
"""

import ast
import contextlib
import functools
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PACKAGES = ("makemore_core", "search")
DOTTED = re.compile(r"(search|makemore_core)(\.\w+)+(:\w+(\.\w+)*)?")
OPTIONAL = {"ray", "boto3"}
"""What a machine may lack; CI has them."""
STUDY_KEYS = re.compile(r"search\.[a-z_]+(\.(low|high))?")
"""Such as `search.hidden_width`: a key of the study file looks like a module."""

FILES = sorted(TESTS.rglob("*.py"))
WITH_NAMES = [
    *(path for path in FILES if {"faults", "benchmarks"} & set(path.relative_to(TESTS).parts)),
    *sorted((ROOT / "search").rglob("*.py")),
]


REPLACING = {"setattr", "getattr", "watch"}
"""Functions that take a module and the name of something in it."""


def trees_of(path: Path) -> Iterator[ast.Module]:
    """A file's syntax tree, and those of the programs that stand in its strings."""
    tree = parsed(path)
    yield tree
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if "import " in text and "\n" in text:
                with contextlib.suppress(SyntaxError):
                    yield ast.parse(text)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def resolve(name: str) -> Any:
    """The module, or the object of a module, that `a.b.c` or `a.b:c.d` names."""
    return pkgutil.resolve_name(name)


def has(thing: Any, path: str) -> bool:
    """Whether `a.b` can be read of a module or a class."""
    with contextlib.suppress(AttributeError):
        functools.reduce(getattr, path.split("."), thing)
        return True
    return False


@functools.cache
def is_there(name: str) -> bool:
    try:
        resolve(name)
    except ModuleNotFoundError as error:
        return error.name in OPTIONAL
    except (ImportError, AttributeError):
        return False
    return True


def is_study_key(path: Path, name: str) -> bool:
    return "spec" in path.parts and STUDY_KEYS.fullmatch(name) is not None


def is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] in PACKAGES


def test_every_name_in_a_string_exists() -> None:
    """Phases, constants and watched functions of the fault suite; loggers and `-m` of the
    program."""
    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in WITH_NAMES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and DOTTED.fullmatch(node.value)
        and not is_study_key(path, node.value)
        and not is_there(node.value)
    ]
    assert [] == missing


def test_every_imported_name_exists() -> None:
    """Imports within functions and within programs in strings too."""
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        for tree in trees_of(path)
        for name in imports_of(tree).values()
        if not is_there(name)
    ]
    assert [] == missing


def test_every_name_of_an_imported_module_exists() -> None:
    """`module.name`, and the name that `setattr(module, "name", ...)` replaces."""
    missing = [
        f"{path.relative_to(ROOT)}: {alias}.{name}"
        for path in FILES
        for tree in trees_of(path)
        for alias, module in modules_of(tree).items()
        for name in uses(tree, alias)
        if not has(module, name)
    ]
    assert [] == missing


def imports_of(tree: ast.Module) -> dict[str, str]:
    """What a file imports from the program, by the names that it gives it."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and is_ours(node.module)
        for alias in node.names
    }


def modules_of(tree: ast.Module) -> dict[str, Any]:
    """The modules and classes among it; a name that stands for something else too is left out."""
    stored = {
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }
    found = {
        alias: resolve(name)
        for alias, name in imports_of(tree).items()
        if alias not in stored and is_there(name)
    }
    return {alias: thing for alias, thing in found.items() if isinstance(thing, ModuleType | type)}


def uses(tree: ast.Module, alias: str) -> Iterator[str]:
    """The attributes of a module that a file uses, or names in a string to replace them."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                pass
            case ast.Call(
                func=ast.Name(id=function) | ast.Attribute(attr=function),
                args=[ast.Name(id=owner), ast.Constant(value=str(name)), *_],
            ) if function in REPLACING:
                pass
            case ast.Call(
                func=ast.Name(id=function) | ast.Attribute(attr=function),
                args=[
                    ast.Attribute(value=ast.Name(id=owner), attr=inner),
                    ast.Constant(value=str(last)),
                    *_,
                ],
            ) if function in REPLACING:
                name = f"{inner}.{last}"
            case _:
                continue
        if owner == alias:
            yield name
