"""Clients of a service: `python -m tests.benchmarks.service.clients ADDRESS SECONDS`.

Reads from standard input, as JSON, a list of {"path", "clients", "every"}: so many clients ask for
a path, each over a connection of its own, every so many seconds, or again at once if that is 0.
They ask as the page's script does, with the version that they have. Prints what became of it.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any
from urllib.parse import urlsplit


class Tally:
    """What the clients were answered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0

    def document(self, seconds: float) -> dict[str, Any]:
        return {
            "answers_a_second": len(self.seconds) / seconds,
            "failed": self.failed,
            "median_ms": 1e3 * median(self.seconds) if self.seconds else None,
            "slowest_ms": 1e3 * max(self.seconds, default=0.0),
        }


async def client(address: str, path: str, every: float, until: float, tally: Tally) -> None:
    """Asks until the time is up."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    version = b""
    await asyncio.sleep(random.uniform(0.0, every))
    while (started := time.monotonic()) < until:
        head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()
        writer.write(head + version + b"\r\n")
        status, version = await _answer(reader)
        took = time.monotonic() - started
        tally.seconds.append(took)
        tally.failed += status not in (200, 304)
        if every:
            await asyncio.sleep(max(0.0, every - took))
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status of an answer, and the header that asks for what is newer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    headers = {name.lower(): value.strip() for name, _, value in lines}
    await reader.readexactly(int(headers.get(b"content-length", b"0")))
    version = headers.get(b"etag")
    return int(head.split()[1]), b"" if version is None else b"If-None-Match: %s\r\n" % version


async def ask(address: str, seconds: float, groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Has all clients ask at the same time."""
    tally, until = Tally(), time.monotonic() + seconds
    await asyncio.gather(
        *(
            client(address, group["path"], group["every"], until, tally)
            for group in groups
            for _ in range(group["clients"])
        )
    )
    return tally.document(seconds)


def main() -> None:
    address, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(ask(address, float(seconds), json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
