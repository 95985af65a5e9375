"""Writes the reference tables of docs/ from the code.

    .venv/bin/python tests/reference_tables.py

What stands between `<!-- generated: NAME -->` and `<!-- end -->` in a page of docs/ is replaced:
the keys of a study file from its sections and their docstrings, the verbs and their options from
the command line, the packages and modules from their docstrings. tests/test_docs.py holds the pages
against the code.
"""

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from makemore_core.config import CHOICES, HYPERPARAMETERS, INTEGERS, RANGES
from search import api
from search.cli import app
from search.cli.options import COMMON
from search.cli.program import GROUPS
from search.spec import defaults
from search.spec.sections import FileSections

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"(?P<head><!-- generated: (?P<name>\w+) -->\n)(?P<text>.*?)(?P<tail><!-- end -->)", re.DOTALL
)
DEFAULTS = defaults.VERSIONS[defaults.LATEST]
ARGUMENTS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def main() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(generated(text), encoding="utf-8")


def pages() -> list[Path]:
    """The pages of docs/ with generated parts."""
    every = sorted(DOCS.rglob("*.md"))
    return [page for page in every if BLOCK.search(page.read_text(encoding="utf-8"))]


def generated(text: str) -> str:
    """A page with its generated parts as the code has them now."""
    return BLOCK.sub(lambda m: f"{m['head']}\n{PARTS[m['name']]()}\n{m['tail']}", text)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table.

    >>> print(table(("key", "values"), [("`a`", "1|2")]), end="")
    | key | values |
    |---|---|
    | `a` | 1\\|2 |
    """
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    text = [f"| {' | '.join(lines[0])} |", f"|{'|'.join(lines[1])}|"]
    text += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(text) + "\n"


def attribute_docstrings(module: Path) -> dict[str, dict[str, str]]:
    """The string under each field, by class and field, as pydoc tools read them."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = dict(_documented_fields(node))
    return found


def _documented_fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, comment in zip(node.body, node.body[1:], strict=False):
        match field, comment:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())


def study_file_sections() -> str:
    """One table for each section of a study file but `search` and `enqueue`."""
    module = ROOT / "search" / "spec" / "sections.py"
    meanings = attribute_docstrings(module)
    parts = []
    for section, field in FileSections.model_fields.items():
        model: Any = field.annotation
        if not hasattr(model, "model_fields"):
            continue
        rows = [
            (f"`{key}`", _default(section, key, info), _values(info), meanings[model.__name__][key])
            for key, info in model.model_fields.items()
        ]
        head = ("key", "default", "values", "meaning")
        parts.append(f"### [{section}]\n\n{model.__doc__}\n\n{table(head, rows)}")
    return "\n".join(parts)


def _default(section: str, key: str, info: FieldInfo) -> str:
    """The default of new studies."""
    if (section, key) == ("budget", "examples"):
        return "by the corpus"
    default = DEFAULTS.get(section, {}).get(key, info.default)
    if default is PydanticUndefined:
        return "required"
    return "" if default is None else f"`{toml(default)}`"


def _values(info: FieldInfo) -> str:
    """The values that a key takes, from its type."""
    choices = typing.get_args(info.annotation)
    if typing.get_origin(info.annotation) is typing.Literal:
        return ", ".join(f"`{toml(each)}`" for each in choices)
    if typing.get_origin(info.annotation) is list:
        return f"list of {_values(FieldInfo.from_annotation(choices[0]))}"
    kinds = [kind for kind in choices or (info.annotation,) if kind is not type(None)]
    metadata = info.metadata or [m for kind in kinds for m in getattr(kind, "__metadata__", ())]
    kind = getattr(kinds[0], "__origin__", kinds[0])
    reader = next((m.func.__name__ for m in metadata if hasattr(m, "func")), None)
    if reader is not None:
        return READERS[reader]
    if kind is bool:
        return "`true`, `false`"
    if kind is str:
        return "text"
    bounds = [part for part in _flat(metadata) if isinstance(part, (Ge, Gt, Le, Lt))]
    return " ".join(["whole number" if kind is int else "number", *map(_bound, bounds)])


READERS = {
    "parse_duration": "duration, seconds",
    "parse_memory": "size, bytes",
    "_check_webhook": "address",
}
"""What the functions accept that read a key's raw value."""


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for each in metadata:
        yield from _flat(each.metadata) if isinstance(each, FieldInfo) else (each,)


def _bound(bound: Ge | Gt | Le | Lt) -> str:
    match bound:
        case Ge(ge=low):
            return f"from {_number(low)}"
        case Gt(gt=low):
            return f"above {_number(low)}"
        case Le(le=high):
            return f"to {_number(high)}"
        case Lt(lt=high):
            return f"below {_number(high)}"


def _number(value: Any) -> str:
    return "2^63" if value == 2**63 else f"{value:,.15g}"


def search_space() -> str:
    """The hyperparameters: their defaults, the values they may take, and what they mean."""
    meanings = attribute_docstrings(ROOT / "makemore_core" / "config.py")["TrialConfig"]
    rows = [
        (
            f"`{name}`",
            f"`{toml(DEFAULTS['search'][name])}`",
            _hyperparameter_values(name),
            meanings[name],
        )
        for name in HYPERPARAMETERS
    ]
    return table(("key", "default", "values", "meaning"), rows)


def _hyperparameter_values(name: str) -> str:
    if name in CHOICES:
        return ", ".join(f"`{toml(choice)}`" for choice in CHOICES[name])
    if name not in RANGES:
        return "`true`, `false`"
    allowed, kind = RANGES[name], "whole number" if name in INTEGERS else "number"
    low, high = _number(allowed.low), _number(allowed.high)
    return f"{kind} {'above' if allowed.above else 'from'} {low} to {high}"


def toml(value: Any) -> str:
    """A value as a study file writes it.

    >>> toml({"low": 4, "high": 64, "log": True}), toml(["adamw", "sgd"]), toml(1_500_000)
    ('{ low = 4, high = 64, log = true }', '["adamw", "sgd"]', '1_500_000')
    """
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    return f'"{value}"' if isinstance(value, str) else str(value)


def commands() -> dict[str, Any]:
    """The verbs as the command line has them, in the order of `--help`."""
    return dict(typer.main.get_command(app()).commands)  # type: ignore[attr-defined]


def list_of_verbs() -> str:
    """Each verb by its group, with its sentence, linked to its section."""
    known = commands()
    rows = [
        (title if number == 0 else "", f"[`{verb}`](#{verb})", " ".join(known[verb].help.split()))
        for title, group in GROUPS.items()
        for number, verb in enumerate(group)
    ]
    return table(("for", "verb", "what it does"), rows)


def common_options() -> str:
    """The options of the program itself, and those that every verb has."""
    program = typer.main.get_command(app())
    own = [option for option in program.params if option.name not in COMMON]
    every = next(iter(commands().values())).params
    shared = [option for option in every if option.name in COMMON]
    return table(("option", "default", "meaning"), _option_rows([*own, *shared]))


def verbs() -> str:
    """One section for each verb: its arguments, its sentence, its own options."""
    parts = []
    for verb, command in commands().items():
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [
            each
            for each in command.params
            if each.param_type_name == "option" and each.name not in COMMON
        ]
        words = [each.metavar or each.name.upper() for each in arguments]
        words += [_option_names(each).split(", ")[0] for each in options if each.required]
        usage = f"`makemore-search {' '.join([verb, *words]).replace('`', '')}`"
        text = f"### {verb}\n\n{usage}\n\n{' '.join(command.help.split())}\n"
        rows = [
            (f"`{word}`", "", _help(each)) for word, each in zip(words, arguments, strict=False)
        ]
        rows = [row for row in rows if row[2]] + _option_rows(options)
        head = ("argument or option", "default", "meaning")
        parts.append(f"{text}\n{table(head, rows)}" if rows else text)
    return "\n".join(parts)


def _option_rows(options: Iterable[Any]) -> list[tuple[str, str, str]]:
    return [
        (_option_names(option), _option_default(option), _help(option))
        for option in options
        if not option.hidden
    ]


def _help(parameter: Any) -> str:
    return " ".join((parameter.help or "").split())


def _option_names(option: Any) -> str:
    argument = "" if option.is_flag else f" {option.metavar or _argument(option)}"
    return ", ".join(f"`{name}{argument}`" for name in (*option.opts, *option.secondary_opts))


def _argument(option: Any) -> str:
    descriptor = getattr(option, "type_descriptor", None)
    return ARGUMENTS.get(getattr(descriptor, "annotation", str), "TEXT")


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    variable = f"`${option.envvar}`" if option.envvar else ""
    is_plain = option.is_flag or option.multiple or option.default in (None, "", ())
    default = "" if is_plain else f"`{option.default}`"
    return ", or ".join(each for each in (variable, default) if each)


def modules() -> str:
    """Every package and module, by the first sentence of its docstring."""
    parts = []
    for root in ("search", "makemore_core"):
        packages = [ROOT / root, *sorted(p for p in (ROOT / root).iterdir() if _is_package(p))]
        for package in packages:
            inside = sorted(package.glob("*.py"))
            rows = [
                (f"`{module.name}`", summary(module))
                for module in inside
                if module.name != "__init__.py"
            ]
            name = package.relative_to(ROOT).as_posix()
            text = f"### {name}\n\n{summary(package / '__init__.py')}\n"
            parts.append(f"{text}\n{table(('module', 'what it holds'), rows)}" if rows else text)
    return "\n".join(parts)


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").is_file()


def summary(module: Path) -> str:
    """What a module says of itself."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return first_paragraph(text)


def python_interface() -> str:
    """The functions of `search.api` and what a study has, each by its first sentence."""
    functions = {
        name: value for name in api.__all__ if inspect.isfunction(value := getattr(api, name))
    }
    members = {
        name: value
        for name, value in vars(api.Study).items()
        if not name.startswith("_") and inspect.getdoc(value)
    }
    text = f"### Functions\n\n{_interface_table('api.', functions)}\n"
    return f"{text}\n### What a study has\n\n{_interface_table('study.', members)}"


def _interface_table(owner: str, found: Mapping[str, Any]) -> str:
    rows = [
        (f"`{owner}{name}{_parameters(value)}`", first_paragraph(inspect.getdoc(value) or ""))
        for name, value in found.items()
    ]
    return table(("name", "what it gives"), rows)


def _parameters(value: Any) -> str:
    """The parameters of a function, without their types; "" for an attribute."""
    if not inspect.isfunction(value):
        return ""
    signature = inspect.signature(value)
    kept = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return str(inspect.Signature(kept))


def first_paragraph(text: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


PARTS: dict[str, Callable[[], str]] = {
    "sections": study_file_sections,
    "search_space": search_space,
    "list_of_verbs": list_of_verbs,
    "common_options": common_options,
    "verbs": verbs,
    "modules": modules,
    "python_interface": python_interface,
}
"""What a page may ask for, by name."""

if __name__ == "__main__":
    main()
