"""One study of a service."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from search.client.frames import frame
from search.client.html import study_table
from search.client.transport import Transport
from search.client.waiting import display
from search.errors import BadInput, SearchError

if TYPE_CHECKING:
    from pandas import DataFrame

Document = dict[str, Any]


class Study:
    """A study; `Client.submit` and `Client.study` give one. Each call asks the service anew."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport, self.name = transport, name
        self._path = f"/studies/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"Study({self.name!r})"

    def _repr_html_(self) -> str:
        return study_table(self.status())

    # What it found

    def status(self) -> Document:
        """Counts, budget, best, time and workers, with its jobs and what was changed by whom."""
        return self._get("")

    def trials(self) -> list[Document]:
        """Every trial, by number."""
        return list(self._transport.request("GET", f"{self._path}/trials").json())

    def frame(self) -> "DataFrame":
        """As `trials`, as a table of pandas; the hyperparameters are columns `config.…`."""
        return frame(self.trials())

    def trial(self, number: int) -> Document:
        """One trial with its curve, and the last lines of its worker's log."""
        return self._get(f"/trials/{number:d}")

    def best(self) -> Document:
        """The winner: of `confirm` if there was one, else the best complete trial."""
        return self._get("/best")

    def samples(
        self, n: int = 20, *, seed: int | None = None, temperature: float = 1.0, prefix: str = ""
    ) -> list[str]:
        """New words from the winner; the same seed gives the same words."""
        query = {"n": n, "seed": seed, "temperature": temperature, "prefix": prefix or None}
        return list(self._transport.request("GET", f"{self._path}/samples", query=query).json())

    def save_model(self, path: str | os.PathLike[str]) -> Path:
        """Downloads the winner's model (safetensors), which `api.load_model` reads.

        Raises:
            SearchError: what arrived is not the model that the study recorded.
        """
        response = self._transport.request("GET", f"{self._path}/model")
        expected = response.headers.get("etag", "").strip('"')
        if hashlib.sha256(response.content).hexdigest() != expected:
            raise SearchError(f"study {self.name}: the model arrived damaged; repeat it")
        return _written(path, response.content)

    def save_report(self, path: str | os.PathLike[str]) -> Path:
        """Downloads the report: one self-contained page."""
        return _written(path, self._transport.request("GET", f"{self._path}/report").content)

    # What is done with it

    def stop(self) -> Document:
        """Asks its workers, wherever they are, to finish as on Ctrl-C."""
        return self._post("/stop", {}, repeat=True)

    def resume(self, trials: int | None = None, timeout: str | None = None) -> Document:
        """Withdraws a stop, with a larger budget if one is given; both are totals."""
        budget = {"trials": trials, "timeout": timeout}
        given = {key: value for key, value in budget.items() if value is not None}
        return self._post("/resume", given, repeat=True)

    def preview_confirm(self, top: int = 3, seeds: int = 3) -> Document:
        """What `confirm` would cost; begins nothing."""
        body, query = {"top": top, "seeds": seeds}, {"dry_run": 1}
        path = f"{self._path}/confirm"
        answer = self._transport.request("POST", path, query=query, json=body, repeat=True)
        return dict(answer.json())

    def confirm(self, top: int = 3, seeds: int = 3, *, progress: bool = True) -> Document:
        """Has the best configurations retrained on fresh seeds, and waits; returns what `confirm`
        answers.

        Raises:
            SearchError: the service could not do it.
        """
        known = {each["id"] for each in self.status()["jobs"]}
        self._post("/confirm", {"top": top, "seeds": seeds})

        def own(status: Document) -> Document | None:
            jobs = (j for j in status["jobs"] if j["kind"] == "confirm" and j["id"] not in known)
            return next(jobs, None)

        def is_over(status: Document) -> bool:
            job = own(status)
            return job is not None and job["state"] in ("done", "failed")

        job = own(self._wait(is_over, None, progress, 1.0)) or {}
        if job.get("error"):
            raise SearchError(str(job["error"]))
        return dict(job.get("result") or {})

    def test(self, confirm: str) -> Document:
        """Opens the test split once, for the winner, and closes the study; ever after shows the
        recorded answer.

        Args:
            confirm: the study's name, since this cannot be undone.
        """
        return self._post("/test", {"confirm": confirm})

    def delete(self, confirm: str) -> None:
        """Deletes the study with its trials and models; `confirm` is its name."""
        self._transport.request("DELETE", self._path, query={"confirm": confirm})

    def wait(
        self, timeout: float | None = None, *, progress: bool = True, every: float = 1.0
    ) -> Document:
        """Waits until its budget is met, or it is stopped, closed or moved; returns its status.

        Ctrl-C ends the waiting alone: the study goes on.

        Args:
            timeout: seconds; None waits for ever.
            progress: whether a terminal or a notebook shows how it goes.
            every: seconds between two questions.

        Raises:
            TimeoutError: it was still under way then.
        """
        return self._wait(_has_ended, timeout, progress, every)

    def _wait(
        self,
        is_over: Callable[[Document], bool],
        timeout: float | None,
        progress: bool,
        every: float,
    ) -> Document:
        deadline = None if timeout is None else time.monotonic() + timeout
        with display(progress) as show:
            while True:
                status = self.status()
                show(status)
                if is_over(status):
                    return status
                if deadline is not None and time.monotonic() + every > deadline:
                    raise TimeoutError(f"study {self.name}: still under way after {timeout:g} s")
                time.sleep(every)

    def _get(self, path: str) -> Document:
        return dict(self._transport.request("GET", self._path + path).json())

    def _post(self, path: str, body: Document, repeat: bool = False) -> Document:
        answer = self._transport.request("POST", self._path + path, json=body, repeat=repeat)
        return dict(answer.json())


def _has_ended(status: Document) -> bool:
    is_stopped = status["ended_by"] in ("stop", "moved") and not status["workers"]
    return status["state"] != "open" or is_stopped


def _written(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a file whole or not at all."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    except OSError as error:
        raise BadInput(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target
