"""The client, against answers of a service that the tests write themselves."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from search.client import (
    BadInput,
    Client,
    NotAllowed,
    NotFound,
    Refused,
    SearchError,
    ServiceUnavailable,
    StudyFileError,
    transport,
    waiting,
)

STATUS: dict[str, Any] = {
    "study": "a <b>/1",
    "state": "open",
    "trials": {"complete": 2, "pruned": 0},
    "budget": {"trials": 4, "finished": 2},
    "best": {"dev_loss": 2.25, "dev_loss_mean": None},
    "ended_by": None,
    "workers": 1,
    "jobs": [],
}
PROBLEM = {"content-type": "application/problem+json"}

Answer = httpx.Response | Exception


class Service:
    """Stands for a service: gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = [*answers]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options: Any) -> Client:
        http = httpx.Client(transport=httpx.MockTransport(self))
        return Client("http://search.example/", "s3cr3t", http=http, **options)


def ok(document: Any) -> httpx.Response:
    return httpx.Response(200, json=document)


def problem(status: int, **document: Any) -> httpx.Response:
    return httpx.Response(status, json={"status": status, **document}, headers=PROBLEM)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    pauses: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", pauses.append)
    monkeypatch.setattr(transport.time, "monotonic", lambda: sum(pauses))
    return pauses


def test_a_name_is_one_part_of_a_path_and_the_token_a_header() -> None:
    """Whatever characters the name has; the token stands nowhere else."""
    service = Service(ok(STATUS))
    client = service.client()
    assert "open" == client.study("a <b>/1").status()["state"]
    request = service.requests[0]
    assert b"/api/v1/studies/a%20%3Cb%3E%2F1" == request.url.raw_path
    assert "Bearer s3cr3t" == request.headers["authorization"]
    assert "s3cr3t" not in repr(client) + str(vars(client))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, BadInput),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (409, Refused),
        (413, BadInput),
        (500, ServiceUnavailable),
    ],
)
def test_a_problem_is_an_exception_with_its_line(status: int, expected: type[Exception]) -> None:
    """The detail of the document is the message, as of the command line."""
    client = Service(problem(status, detail="study x: not here")).client()
    with pytest.raises(expected, match=r"^study x: not here$"):
        client.studies()


def test_the_mistakes_of_a_study_file_have_their_lines() -> None:
    """Each is there, with its key."""
    mistakes = [{"key": "budget.trials", "problem": "is no number", "line": 7}]
    answer = problem(422, detail="study file: line 7: ...", mistakes=mistakes)
    with pytest.raises(StudyFileError) as error:
        Service(answer).client().submit("[study]")
    assert [("budget.trials", "is no number", 7)] == [tuple(m) for m in error.value.mistakes]
    assert "study file: line 7: budget.trials: is no number" == str(error.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(502, text="<html>nginx"), "search.example: answered with 502"),
        (httpx.Response(302, headers={"location": "https://other.example"}), "redirects"),
        (httpx.Response(404, json=["?"]), "answered with 404"),
        (httpx.Response(400, text="{", headers=PROBLEM), "answered with 400"),
    ],
)
def test_what_stands_before_the_service_may_answer_too(
    answer: httpx.Response, expected: str
) -> None:
    """Without a document; a redirect is not followed, as the token would go along."""
    service = Service(answer)
    with pytest.raises(SearchError, match=expected):
        service.client(patience=0).studies()
    assert 1 == len(service.requests)


def test_what_may_be_repeated_is_repeated(clock: list[float]) -> None:
    """While the service is away, or busy; not longer than the client's patience."""
    lost = httpx.ReadTimeout("timed out")
    busy = httpx.Response(503, json={}, headers={"retry-after": "3"})
    service = Service(lost, busy, httpx.ConnectError("refused"), ok([]))
    assert [] == service.client().studies()
    assert 4 == len(service.requests) and max(clock) >= 2.4
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnavailable, match=r"http://search\.example: cannot be reached"):
        service.client(patience=20).studies()
    assert 3 < len(service.requests) < 20


@pytest.mark.parametrize("act", ["test", "delete", "confirm"])
def test_what_may_not_be_done_twice_is_sent_once(act: str, clock: list[float]) -> None:
    """After an answer that was lost; a connection that was never made did nothing."""
    service = Service(ok(STATUS))
    study = service.client().study("x")
    before = [ok(STATUS)] if act == "confirm" else []
    service.answers = [*before, httpx.ReadTimeout("timed out")]
    with pytest.raises(ServiceUnavailable):
        getattr(study, act)(*(() if act == "confirm" else ("x",)))
    assert 1 == sum(request.method != "GET" for request in service.requests)


def test_what_never_arrived_may_be_sent_again(clock: list[float]) -> None:
    """A connection that was refused carried nothing."""
    service = Service(ok(STATUS), httpx.ConnectError("refused"), ok({"test_loss": 2.0}))
    assert {"test_loss": 2.0} == service.client().study("x").test("x")


def test_a_request_that_is_wrong_is_not_repeated(clock: list[float]) -> None:
    """A 4xx answer is the same at every try."""
    service = Service(problem(404, detail="no"))
    with pytest.raises(NotFound):
        service.client().study("x")
    assert (1, []) == (len(service.requests), clock)


@pytest.mark.parametrize(
    "url", ["", "search.example", "ftp://h", "https://me:s3cr3t@h", "https://h/?token=s3cr3t", None]
)
def test_an_address_is_checked_at_once(url: Any) -> None:
    """A secret does not belong into it, and is not repeated."""
    with pytest.raises(BadInput, match=r"^url: ") as error:
        Client(url)
    assert "s3cr3t" not in str(error.value)


def test_a_study_file_is_given_in_three_ways(tmp_path: Path) -> None:
    """Its text, its path, or its document."""
    text = '[study]\nname = "x"\n'
    path = tmp_path / "x.toml"
    path.write_text(text)
    service = Service(ok(STATUS))
    for given in (text, path, {"study": {"name": "x"}}):
        service.client().submit(given)
        assert {"toml": text} == json.loads(service.requests[-1].content)
    with pytest.raises(BadInput, match="cannot be read"):
        service.client().submit(tmp_path / "y.toml")


def test_a_corpus_is_uploaded_as_it_is(tmp_path: Path) -> None:
    """The bytes of a file, under its name."""
    path = tmp_path / "words.txt"
    path.write_bytes("anna\nbébé\n".encode())
    service = Service(ok({"fingerprint": "f"}))
    service.client().upload_corpus(path, column=2)
    request = service.requests[0]
    assert path.read_bytes() == request.content
    assert {"name": "words", "column": "2"} == dict(request.url.params)


def test_waiting_shows_each_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    """On one line of a terminal, until the study is done; then it returns the last one."""
    done = STATUS | {"state": "done", "ended_by": "trials"}
    service = Service(ok(STATUS), ok(STATUS), ok(STATUS | {"study": "a\x1b[2J"}), ok(done))
    monkeypatch.setattr(waiting.sys.stderr, "isatty", lambda: True)
    assert done == service.client().study("x").wait()
    said = capsys.readouterr().err
    assert 3 == said.count("\r") and "2/4 trials, best 2.2500" in said
    assert "\x1b[2J" not in said


def test_waiting_ends_in_time(clock: list[float]) -> None:
    """After the timeout, or once a study was stopped and its workers have left."""
    client = Service(ok(STATUS)).client()
    with pytest.raises(TimeoutError, match="after 5 s"):
        client.study("x").wait(timeout=5, progress=False)
    stopping = STATUS | {"ended_by": "stop"}
    stopped = stopping | {"workers": 0}
    service = Service(ok(stopping), ok(stopping), ok(stopped))
    assert stopped == service.client().study("x").wait(progress=False)


def test_a_confirmation_is_waited_for(clock: list[float]) -> None:
    """By its own job, not by one before it; its error is raised."""
    old = {"id": "1", "kind": "confirm", "state": "done", "error": None, "result": {"winner": 1}}
    new = {**old, "id": "2", "state": "running", "result": None}
    over = {**new, "state": "done", "result": {"winner": 2}}
    before, during, after = (ok(STATUS | {"jobs": j}) for j in ([old], [new, old], [over, old]))
    service = Service(ok(STATUS), before, during, during, after)
    assert {"winner": 2} == service.client().study("x").confirm(progress=False)
    failed = ok(STATUS | {"jobs": [{**new, "state": "failed", "error": "no model"}]})
    service = Service(ok(STATUS), ok(STATUS), ok(STATUS), failed)
    with pytest.raises(SearchError, match="no model"):
        service.client().study("x").confirm(progress=False)


def test_a_model_arrives_whole(tmp_path: Path) -> None:
    """What does not have the recorded hash is not written."""
    content = b"safetensors"
    tag = {"etag": f'"{hashlib.sha256(content).hexdigest()}"'}
    service = Service(ok(STATUS), httpx.Response(200, content=content, headers=tag))
    study = service.client().study("x")
    assert content == study.save_model(tmp_path / "m.safetensors").read_bytes()
    service.answers = [httpx.Response(200, content=content[:-1], headers=tag)]
    with pytest.raises(SearchError, match="damaged"):
        study.save_model(tmp_path / "n.safetensors")
    assert ["m.safetensors"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(BadInput, match="cannot be written"):
        study.save_report(tmp_path / "no" / "r.html")


def test_a_notebook_shows_tables() -> None:
    """Names are text, not markup."""
    client = Service(ok(STATUS)).client()
    page = client.study("x")._repr_html_()
    assert "a &lt;b&gt;/1" in page and "<b>" not in page
    assert "2 complete" in page and "2.2500" in page
    client = Service(ok([STATUS, STATUS | {"best": None}])).client()
    assert 2 == client._repr_html_().count("a &lt;b&gt;/1")


def test_answers_are_frames() -> None:
    """A row for each trial; hyperparameters are columns."""
    rows = [{"number": 0, "dev_loss": 2.5, "config": {"block_size": 3}}]
    frame = Service(ok(STATUS), ok(rows)).client().study("x").frame()
    assert [3] == list(frame["config.block_size"])
    assert ["open"] == list(Service(ok([STATUS])).client().frame()["state"])


def test_without_pandas_there_are_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is missing; everything else works."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        Service(ok([STATUS])).client().frame()


def test_the_client_is_light() -> None:
    """It loads neither torch, Optuna nor a database, nor pandas before it is asked for."""
    heavy = ("torch", "numba", "optuna", "sqlalchemy", "pandas", "numpy", "IPython")
    source = f"import sys, search.client; print([m for m in {heavy!r} if m in sys.modules])"
    command = [sys.executable, "-c", source]
    assert "[]" == subprocess.run(command, capture_output=True, text=True).stdout.strip()
