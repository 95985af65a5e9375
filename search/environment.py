"""What a trial's bits rest on beside its configuration, seed and threads; kept with each attempt.

`replay` compares it with what is here now, so that a curve that differs has a reason.
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
    """Versions, our own code's fingerprint, and the machine; a few hundredths of a second, once."""
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
    """SHA-256 over the Python sources of packages: their names and contents, in a fixed order."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{package.name}/{path.relative_to(package).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def differences(recorded: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """What differs between recorded surroundings and those here: (recorded, here) by name."""
    here = run_environment()
    return {
        name: (recorded.get(name), value)
        for name, value in here.items()
        if recorded.get(name) != value
    }
