"""The pages of docs/ are in step with the code, and what they point to exists."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference_tables import BLOCK, PARTS, commands, generated, pages
from workspace import Workspace

from makemore_core.config import HYPERPARAMETERS
from search.cli.options import COMMON
from search.spec.study_file import read

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EVERY_PAGE = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
]
COMMAND = ".venv/bin/python tests/reference_tables.py"
VALUES_OF = {"config", "space", "pruned_for", "recorded", "replayed", "curve", "best"}
"""Keys whose own keys are explained elsewhere, or follow from the study."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, heading: str) -> str:
    """The part of a page under a heading, up to the next one of its level or above."""
    found = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text_of(page), re.M | re.S
    )
    assert found, f"{page.name} has no heading {heading!r}"
    return found[2]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_generated_tables_are_those_of_the_code(page: Path) -> None:
    """Else tests/reference_tables.py is to be run."""
    assert generated(text_of(page)) == text_of(page), f"stale; run {COMMAND}"


def test_every_generated_part_has_its_place() -> None:
    """Each part that can be generated stands on exactly one page."""
    placed = [found["name"] for page in pages() for found in BLOCK.finditer(text_of(page))]
    assert sorted(PARTS) == sorted(placed)


@pytest.mark.parametrize("verb", sorted(commands()))
def test_each_verb_has_its_options_in_its_own_section(verb: str) -> None:
    """An option of one verb is not documented by the row of another verb."""
    page = DOCS / "commands.md"
    own, shared = section(page, verb), section(page, "Common options")
    assert f"`makemore-search {verb}" in own
    for option in commands()[verb].params:
        names = [name for name in option.opts if name.startswith("--") and name != "--help"]
        text = shared if option.name in COMMON else own
        assert [] == [name for name in names if not re.search(rf"`{name}[` ]", text)]


@pytest.mark.parametrize("verb", sorted(commands()))
def test_every_verb_says_what_it_does(verb: str) -> None:
    """`--help` has a sentence for each verb."""
    assert commands()[verb].help


def toml_blocks(page: Path) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", text_of(page), re.S)


def test_the_study_files_of_the_pages_can_be_read(tmp_path: Path) -> None:
    """They have no mistakes, and the larger one has every section."""
    examples = toml_blocks(DOCS / "study-file.md")
    assert 2 == len(examples)
    (tmp_path / "places.csv").write_text("1,emma\n", encoding="utf-8")
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.toml"
        file.write_text(example, encoding="utf-8")
        read(file)
    headings = set(re.findall(r"^### \[+(\w+)\]+$", text_of(DOCS / "study-file.md"), re.M))
    assert headings == set(tomllib.loads(examples[1]))


def keys_of(document: Any) -> Iterator[str]:
    """The keys of a JSON document, those of its parts included, but not of a study's values."""
    if isinstance(document, list):
        for each in document[:1]:
            yield from keys_of(each)
    elif isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in VALUES_OF:
                yield from keys_of(value)


ANSWERS = {
    "status": ("status", "tiny"),
    "trials": ("trials", "tiny"),
    "best": ("best", "tiny"),
    "replay": ("replay", "tiny", 0),
    "preview": ("preview", "tiny.toml"),
    "corpus": ("corpus", "words.txt"),
    "baseline": ("baseline", "--corpus", "words.txt", "--order", 2),
    "train": ("train", "config.toml"),
    "mix": ("mix", "tiny"),
    "score": ("score", "tiny", "aeil"),
    "lr-range": ("lr-range", "config.toml"),
    "capacity": ("capacity", "config.toml", "--widths", "4"),
    "confirm": ("confirm", "tiny", *("--top", 1, "--seeds", 1, "--ensemble", 1, "--workers", 1)),
    "test": ("test", "tiny", "--yes"),
}


@pytest.mark.usefixtures("trained_here")
@pytest.mark.parametrize("verb", ANSWERS)
def test_every_key_of_a_verbs_json_is_explained(finished: Workspace, verb: str) -> None:
    """In the verb's own section of docs/results.md."""
    configuration = finished.cli("best", "tiny", "--toml").out
    (finished.root / "config.toml").write_text(configuration, encoding="utf-8")
    arguments = [
        finished.root / word if str(word).endswith((".toml", ".txt")) else word
        for word in ANSWERS[verb]
    ]
    answer = finished.cli(*arguments, "--json")
    assert 0 == answer.status, answer.err
    explained = re.findall(r"`(\w+)`", section(DOCS / "results.md", verb))
    assert set() == set(keys_of(json.loads(answer.out))) - {*explained, *HYPERPARAMETERS}


def constants() -> str:
    """All text in the program's code, the fixed parts of its messages among it."""
    found = []
    for module in [*(ROOT / "search").rglob("*.py"), *(ROOT / "makemore_core").rglob("*.py")]:
        for node in ast.walk(ast.parse(text_of(module))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(getattr(part, "value", "…")) for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_messages_of_troubleshooting_are_the_programs() -> None:
    """Each fixed part of a message stands in the code."""
    program = constants()
    first_cells = re.findall(r"^\| (.*?) \|", text_of(DOCS / "troubleshooting.md"), re.M)
    quoted = [message for cell in first_cells for message in re.findall(r"`([^`]+)`", cell)]
    parts = {part.strip() for message in quoted for part in message.split("…")}
    assert 40 < len(parts)
    assert [] == sorted(part for part in parts if part not in program)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text_of(page), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files that are linked to exist, and so do headings."""
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links, from page to page."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)#]+\.md)", text_of(page))
        waiting += [(page.parent / target).resolve() for target in targets]
    assert set() == set(EVERY_PAGE) - reached


def packages_in(line: str, root: str) -> list[str]:
    """The packages of a root that a layer names; not its modules."""
    named = re.findall(rf"\b{root}\.\w+", line)
    return [package for package in named if (ROOT / package.replace(".", "/")).is_dir()]


def test_the_layers_of_the_architecture_are_import_linters() -> None:
    """The picture has the layers of both contracts, in their order, and the table every package."""
    page = text_of(DOCS / "architecture.md")
    configured = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]
    contracts = {each["name"]: each for each in configured["contracts"]}
    picture = re.findall(r"```\n(search\.cli.*?)```", page, re.S)[0]
    for root, name in (("search", "The search in layers"), ("makemore_core", "The core in layers")):
        packages = [packages_in(layer, root) for layer in contracts[name]["layers"]]
        drawn = [packages_in(line, root) for line in picture.splitlines()]
        assert [layer for layer in packages if layer] == [line for line in drawn if line]
        named = {part.replace(".", "/") for layer in packages for part in layer}
        assert set() == {package for package in named if f"| `{package}` |" not in page}


def test_paths_that_the_architecture_names_exist() -> None:
    """Where a change belongs is a place that there is."""
    page = text_of(DOCS / "architecture.md").partition("## Modules")[0]
    named = set(re.findall(r"`((?:search|makemore_core|docs|tests)/[\w/.*-]+)`", page))
    assert 20 < len(named)
    assert [] == [name for name in sorted(named) if not list(ROOT.glob(name.rstrip("/")))]


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "python.md"], ids=lambda p: p.name)
def test_the_python_of_the_pages_runs(
    page: Path,
    finished: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a study that is done, with its name and its letters in place of the pages'."""
    code = re.findall(r"```python\n(.*?)```", text_of(page), re.S)[0]
    monkeypatch.setenv("MAKEMORE_SEARCH_STORAGE", finished.url)
    monkeypatch.setenv("MAKEMORE_SEARCH_DATA_DIR", str(finished.data_dir.root))
    exec(compile(code.replace('"quick"', '"tiny"').replace("anna", "alma"), page, "exec"), {})
    assert capsys.readouterr().out
