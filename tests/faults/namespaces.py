"""Hosts as network namespaces: each has a cable to one bridge, and a host name of its own."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from servers import start_again

from .harness import NotHere


class Network:
    """A bridge of this machine, with an address on it, and the hosts that are plugged into it."""

    def __init__(self) -> None:
        self._tag = f"mm{os.getpid()}"  # interfaces have names of 15 letters at most
        self._range = f"198.18.{os.getpid() % 256}"  # reserved for tests of networks
        self.address = f"{self._range}.1"

    def make(self) -> None:
        """Raises NotHere where this user may not."""
        ip("link", "add", self._tag, "type", "bridge")
        ip("address", "add", f"{self.address}/24", "dev", self._tag)
        ip("link", "set", self._tag, "up")

    def add(self, host: str, number: int) -> None:
        """Adds a host, with an address by its number, and plugs it in."""
        ip("netns", "add", self._namespace(host))
        at_host = ("eth0", "netns", self._namespace(host))
        ip("link", "add", self._cable(host), "type", "veth", "peer", "name", *at_host)
        ip("link", "set", self._cable(host), "master", self._tag)
        inside = ("-n", self._namespace(host))
        ip(*inside, "address", "add", f"{self._range}.{number}/24", "dev", "eth0")
        ip(*inside, "link", "set", "eth0", "up")
        self.plug(host)

    def plug(self, host: str) -> None:
        ip("link", "set", self._cable(host), "up")

    def unplug(self, host: str) -> None:
        """From now on nothing that is sent arrives, and nobody is told."""
        ip("link", "set", self._cable(host), "down")

    def on(self, host: str) -> list[str]:
        """What to put before a command that is to run on a host."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host]
        return ["ip", "netns", "exec", self._namespace(host), *named]

    def remove(self, *hosts: str) -> None:
        """Takes everything away again, as far as it was made."""
        for host in hosts:
            with contextlib.suppress(NotHere):
                ip("netns", "delete", self._namespace(host))  # and its cable with it
        with contextlib.suppress(NotHere):
            ip("link", "delete", self._tag)

    def _namespace(self, host: str) -> str:
        return f"{self._tag}-{host}"

    def _cable(self, host: str) -> str:
        return f"{self._tag}-{host}"


@contextlib.contextmanager
def network_of(*hosts: str) -> Iterator[Network]:
    """A network with these hosts; their names are short."""
    network = Network()
    try:
        network.make()
        for number, host in enumerate(hosts, start=2):
            network.add(host, number)
        yield network
    finally:
        network.remove(*hosts)


def ip(*arguments: str) -> None:
    if shutil.which("ip") is None:
        raise NotHere("iproute2 is not installed")
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def listening(server: Any, network: Network, url: str) -> Iterator[str]:
    """Has the PostgreSQL server listen on the network; gives the URL there of one of its own."""
    rules = server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"{before}\nhost all all {network.address}/24 trust\n")
    sockets = server.get_postmaster_info().socket_dir
    server.stop()
    _start(server, f"-h {network.address} -p 5432 -k {sockets}")
    try:
        there = sa.make_url(url).set(host=network.address, port=5432, query={})
        yield there.render_as_string(hide_password=False)
    finally:
        start_again(server)  # so that it knows whom to stop
        server.stop()
        rules.write_text(before)
        start_again(server)


def _start(server: Any, options: str) -> None:
    command = [server.bin_path / "pg_ctl", "-w", "-s", "-D", server.pgdata, "-l", server.log]
    subprocess.run([*command, "-o", options, "start"], user=server.system_user, check=True)
