"""The files under docs/deploy/, as far as they can be checked where no container engine is."""

import configparser
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import typer
import yaml

from search.cli import app
from search.cli.options import COMMON

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text("utf-8")
INSTRUCTIONS = [
    "FROM",
    "RUN",
    "WORKDIR",
    "COPY",
    "USER",
    "ENV",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
]


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Containerfile, and its arguments on one line."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, " ".join(arguments.split())) for name, arguments in lines]


def parse(arguments: list[str]) -> None:
    """Parses a command line, without running it; raises if the program does not take it."""
    verb, *rest = arguments
    program: Any = typer.main.get_command(app(verbs=()))
    command = program.get_command(None, verb)
    assert command is not None, verb
    command.make_context(verb, rest)


def test_the_container_holds_the_program() -> None:
    """Known instructions, files that exist, extras that exist, no root, signals that arrive."""
    found = instructions()
    assert {name for name, _ in found} <= {*INSTRUCTIONS}
    for name, arguments in found:
        if name == "COPY":
            *sources, _ = arguments.split()
            assert all((ROOT / source).exists() for source in sources)
        if name in ("ENTRYPOINT", "CMD"):
            assert json.loads(arguments)  # no shell between the engine's signals and the program
    names = [name for name, _ in found]
    assert names.index("USER") < names.index("ENTRYPOINT")
    extras = re.search(r"'\.\[(.*)\]'", CONTAINERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras is not None
    assert {*extras[1].split(",")} <= {*project["optional-dependencies"]}


def test_the_services_run_what_the_program_takes() -> None:
    """Their verbs and options exist, their environment is read, their volumes are declared."""
    services = COMPOSE["services"]
    assert {"database", "service", "worker"} == services.keys()
    assert 2 == services["worker"]["deploy"]["replicas"]
    known = {option.envvar for option in _options()} | {"MAKEMORE_SEARCH_ARTIFACTS", "PGPASSWORD"}
    for name in ("service", "worker"):
        parse(services[name]["command"])
        assert {*services[name]["environment"]} <= known
    assert "/healthz" in services["service"]["healthcheck"]["test"][-1]
    for service in services.values():
        named = {volume.split(":")[0] for volume in service["volumes"]}
        assert named <= COMPOSE["volumes"].keys()
        assert {*service.get("depends_on", {})} <= services.keys()
    assert not re.search(r"PASSWORD: (?!\$\{)", (DEPLOY / "compose.yaml").read_text("utf-8"))
    build = services["service"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def _options() -> list[Any]:
    return [kind.__metadata__[0] for kind, _ in COMMON.values()]


def test_the_unit_starts_the_service() -> None:
    """With options that exist; SIGTERM reaches the program, which has time to drain."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / "makemore-search.service").read_text("utf-8"))
    assert ["Unit", "Service", "Install"] == unit.sections()
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert "makemore-search" == Path(program).name
    parse(arguments)
    assert ("mixed", "60") == (unit["Service"]["KillMode"], unit["Service"]["TimeoutStopSec"])
