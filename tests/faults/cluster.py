"""A Ray cluster of several nodes on this machine, any of which can be killed like a host."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import wait_until

from .harness import HERE, FaultRun, kill

RAY = Path(sys.executable).with_name("ray")
STORE = 80_000_000
"""Bytes of shared memory for a node's objects; there are none but a few small ones."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a test tells nobody that it ran
    "RAY_AUTH_MODE": "disabled",  # else Ray leaves a token in the home directory
}


class Cluster:
    """Nodes that take part in a place's faults; each is a host of its own name to the program."""

    def __init__(self, place: FaultRun, temporary: Path) -> None:
        self._place, self._temporary = place, temporary
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self.address = ""

    def add(self, name: str, cpus: int = 1) -> None:
        """Starts a node; the first is the head."""
        head = ["--head", "--port=0", f"--temp-dir={self._temporary}", "--include-dashboard=false"]
        head += [f"--ray-client-server-port={_free_port()}", "--include-log-monitor=false"]
        joins = [f"--address={self.address}"] if self.address else head
        size = [f"--num-cpus={cpus}", f"--object-store-memory={STORE}"]
        node = subprocess.Popen(
            [RAY, "start", *joins, *size, "--block"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(name),
        )
        assert node.stdout is not None
        self._nodes[name] = node
        said = []
        for line in node.stdout:
            said.append(line)
            if found := re.search(r"ray start --address='(\S+)'", line):
                self.address = found[1]
            if self.address and "Ray runtime started" in "".join(said):
                return
        raise AssertionError(f"no node {name}: {''.join(said)}")

    def kill(self, name: str) -> None:
        """The host is gone, with all that ran on it."""
        for pid in self.processes(name):
            kill(pid, signal.SIGKILL)

    def processes(self, name: str) -> list[int]:
        """Every process of a node: those that have its environment."""
        mark = f"FAULTS={self._faults_dir(name)}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """What Ray wrote: its logs, and whatever else lies in its directory."""
        for path in self._temporary.rglob("*"):
            if path.is_file():
                with contextlib.suppress(FileNotFoundError):  # Ray removes some at any moment
                    yield path, path.read_bytes()

    def close(self) -> None:
        """Ends every process of every node, and waits until it is gone."""
        for name, node in self._nodes.items():
            self.kill(name)
            node.communicate()
            wait_until(lambda name=name: not self.processes(name))

    def _environment(self, name: str) -> dict[str, str]:
        faults = self._faults_dir(name)
        (faults / "hits").mkdir(parents=True)
        plan = json.loads((self._place.faults_dir / "plan.json").read_text())
        plan["constants"]["search.system.processes.HOST"] = name
        (faults / "plan.json").write_text(json.dumps(plan))
        (faults / "events").symlink_to(self._place.faults_dir / "events")
        path = os.pathsep.join([str(HERE / "hooks"), os.environ.get("PYTHONPATH", "")])
        return os.environ | {"PYTHONPATH": path, "FAULTS": str(faults)}

    def go_on(self, name: str) -> None:
        """Lets go what a fault has paused on a node."""
        (self._faults_dir(name) / "go on").touch()

    def _faults_dir(self, name: str) -> Path:
        return self._place.root / name


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def cluster(place: FaultRun) -> Iterator[Cluster]:
    """A cluster without nodes, whose processes and files are gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary,
        pytest.MonkeyPatch.context() as patch,
    ):
        for variable, value in QUIET.items():
            patch.setenv(variable, value)
        made = Cluster(place, Path(temporary))  # a short path: Ray's sockets lie below it
        try:
            yield made
        finally:
            made.close()
