"""Records what a trial's bits depend on beside its configuration, seed and threads.

It is stored with each attempt; `replay` compares it with the present one to explain a curve that
differs.
"""

import functools
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import llvmlite.binding
import numba
import optuna
import torch

import makemore_core
import search


@functools.cache
def run_environment() -> Mapping[str, str]:
    """Returns versions, our code's fingerprint and the machine."""
    instructions = torch.backends.cpu.get_cpu_capability()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numba": numba.__version__,
        "optuna": optuna.__version__,
        "code": code_fingerprint([Path(str(p.__file__)).parent for p in (makemore_core, search)]),
        "machine": f"{platform.machine()} {llvmlite.binding.get_host_cpu_name()} {instructions}",
    }


def code_fingerprint(packages: list[Path]) -> str:
    """Returns the SHA-256 of packages' Python sources, names and contents, in a fixed order."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{package.name}/{path.relative_to(package).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def differences(recorded: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """Returns what differs from a recorded environment, as (recorded, present) by name."""
    present = run_environment()
    return {
        name: (recorded.get(name), value)
        for name, value in present.items()
        if recorded.get(name) != value
    }
