"""The dashboard as it may be left running: who may ask, for what, and what they get."""

import io
import json
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import wsgi
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from workspace import Workspace, ended
from wsgi import Client

from search.dashboard import app, trial_pictures
from search.dashboard.app import Access
from search.dashboard.trial_pictures import PicturePublisher
from search.errors import BadInput
from search.storage import optuna_reader, optuna_tables
from search.storage.database import Storage, open_storage
from search.storage.optuna_reader import BulkReadStorage
from search.study import study

TOKEN = "correct-horse-battery-staple"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class Board:
    """A dashboard over the study `tiny`, and clients for it."""

    def __init__(self, bed: Workspace) -> None:
        self.bed = bed
        self._opened: list[Storage] = []

    def client(self, access: Access | None = None, **headers: str) -> Client:
        storage = open_storage(self.bed.url)
        self._opened.append(storage)
        made = app.application(storage, self.bed.data_dir, access or Access())
        return Client(made, **headers)

    def routes(self) -> set[tuple[str, str]]:
        """Every method and path that optuna-dashboard knows, with numbers for what it names."""
        storage = open_storage(self.bed.url)
        self._opened.append(storage)
        found = {
            (route.method, re.sub(r"<[^>]*id[^>]*>", "1", route.rule))
            for route in wsgi(storage.optuna).routes
        }
        return {(method, re.sub(r"<[^>]+>", "x", rule)) for method, rule in found}

    def close(self) -> None:
        for storage in self._opened:
            storage.close()


@pytest.fixture
def board(finished: Workspace) -> Iterator[Board]:
    made = Board(finished)
    yield made
    made.close()


def illustrated(bed: Workspace) -> None:
    """Gives the best trials of `tiny` their pictures."""
    PicturePublisher(bed.storage, study.resolve(bed.storage, "tiny"), bed.data_dir).finish()


# What a reader gets


def test_the_page_and_the_study_are_served(board: Board) -> None:
    """A plain dashboard shows the page, the list of studies and every trial of a study."""
    client = board.client()
    assert "Optuna Dashboard" in client.get("/dashboard").text
    (listed,) = client.get("/api/studies").json["study_summaries"]
    assert "tiny" == listed["study_name"]
    assert 12 <= len(client.get("/api/studies/1").json["trials"])


@pytest.mark.parametrize(("limit", "shown"), [(1_000, True), (3, False)])
def test_the_curves_of_a_large_study_are_not_drawn(
    board: Board, monkeypatch: pytest.MonkeyPatch, limit: int, shown: bool
) -> None:
    """Optuna's dashboard draws a study's curves unless this key is false; each trial's reports are
    told all the same. A dashboard without the key or the route fails here."""
    monkeypatch.setattr(optuna_reader, "MAX_CURVES", limit)
    plain = Client(wsgi(board.bed.storage.optuna)).get("/api/studies/1").json
    assert plain["has_intermediate_values"] is True
    found = board.client().get("/api/studies/1").json
    assert shown is found["has_intermediate_values"]
    assert [each["intermediate_values"] for each in plain["trials"]] == [
        each["intermediate_values"] for each in found["trials"]
    ]
    assert 404 == board.client().get("/api/studies/7").status


def test_best_trials_have_pictures_and_the_study_a_note(board: Board) -> None:
    """Each trial that was the best when it ended shows four artifacts; none of them is active."""
    illustrated(board.bed)
    client = board.client()
    shown = client.get("/api/studies/1").json
    best = shown["best_trials"][0]
    assert set(trial_pictures.KINDS) == {each["filename"] for each in best["artifacts"]}
    for each in best["artifacts"]:
        reply = client.get(f"/artifacts/1/{best['trial_id']}/{each['artifact_id']}")
        assert 200 == reply.status
        assert reply.headers["content-type"].startswith(each["mimetype"])
        assert "sandbox" in reply.headers["content-security-policy"]
    note = shown["note"]["body"]
    stored = study.resolve(board.bed.storage, "tiny")
    assert all(words in note for words in ("tiny", stored.fingerprint, "bigram", "sealed"))


def test_drawing_twice_leaves_one_picture_of_each_kind(board: Board) -> None:
    """Illustrating again, as another host or a resumed run would, adds nothing."""
    illustrated(board.bed)
    stored = study.resolve(board.bed.storage, "tiny")
    first = board.bed.storage.optuna.get_study_system_attrs(stored.optuna_id)
    illustrated(board.bed)
    assert first == board.bed.storage.optuna.get_study_system_attrs(stored.optuna_id)


def test_a_picture_on_another_machine_is_not_found(board: Board) -> None:
    """An artifact whose file is elsewhere answers 404, not an error."""
    illustrated(board.bed)
    client = board.client()
    best = client.get("/api/studies/1").json["best_trials"][0]
    for path in board.bed.data_dir.artifacts().iterdir():
        path.unlink()
    artifact_id = best["artifacts"][0]["artifact_id"]
    assert 404 == client.get(f"/artifacts/1/{best['trial_id']}/{artifact_id}").status


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml"])
def test_an_uploaded_page_is_never_active(board: Board, kind: str) -> None:
    """Whatever an uploader called a file, no script in it runs in the dashboard's origin."""
    stored = study.resolve(board.bed.storage, "tiny")
    board.bed.data_dir.artifacts().mkdir(exist_ok=True)
    body = b"<script>alert(1)</script>"
    trial_pictures.artifact_store(board.bed.data_dir).write("abc-1", io.BytesIO(body))
    meta = {"artifact_id": "abc-1", "filename": "x.html", "mimetype": kind, "encoding": None}
    board.bed.storage.optuna.set_study_system_attr(
        stored.optuna_id, "artifacts:abc-1", json.dumps(meta)
    )
    reply = board.client().get("/artifacts/1/abc-1")
    assert 200 == reply.status
    assert not reply.headers["content-type"].startswith(("text/html", "application/xhtml"))
    policy = reply.headers["content-security-policy"]
    assert "sandbox" in policy and "allow-scripts" not in policy
    assert "nosniff" == reply.headers["x-content-type-options"]


def test_every_answer_is_hardened(board: Board) -> None:
    """Pages, data, refusals and misses alike carry the security headers."""
    client = board.client()
    for reply in (
        client.get("/dashboard"),
        client.get("/api/studies"),
        client.get("/nonsense"),
        client("DELETE", "/api/studies/1"),
        client.get("/", Host="evil.example"),
    ):
        assert "nosniff" == reply.headers["x-content-type-options"]
        assert "no-referrer" == reply.headers["referrer-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert "access-control-allow-origin" not in reply.headers


# Who may do what


@pytest.mark.sqlite_file
def test_every_changing_route_is_refused_and_nothing_changes(board: Board) -> None:
    """Without --writable every POST, PUT, PATCH and DELETE answers 403 or 405."""
    client = board.client()
    before = board.bed.data_dir.database.read_bytes()
    asked = {(m, path) for m, path in board.routes() if m in UNSAFE}
    assert ("DELETE", "/api/studies/1") in asked and len(asked) > 10
    asked |= {(method, path) for method in UNSAFE for _, path in asked}
    statuses = {client(method, path, {}).status for method, path in asked}
    assert statuses <= {403, 405}
    assert before == board.bed.data_dir.database.read_bytes()


def test_every_route_needs_the_token_first(board: Board) -> None:
    """Where a token is needed, every route and method answers 401 without it."""
    client = board.client(Access(token=TOKEN))
    asked = {*board.routes(), *((m, "/api/studies/1") for m in UNSAFE)}
    assert {401} == {client(method, path).status for method, path in asked}
    assert 401 == client.get("/api/studies", Authorization="Bearer wrong").status
    assert 401 == client.get(f"/api/studies?token={TOKEN}x").status


def test_the_token_in_a_header_or_once_in_the_link(board: Board) -> None:
    """A bearer header enters; a link sets a strict, http-only cookie and loses its token."""
    client = board.client(Access(token=TOKEN))
    assert 200 == client.get("/api/studies", Authorization=f"Bearer {TOKEN}").status
    reply = client.get(f"/dashboard/studies/1?token={TOKEN}&a=b")
    assert (303, "/dashboard/studies/1?a=b") == (reply.status, reply.headers["location"])
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert 200 == client.get("/api/studies", Cookie=cookie.split(";")[0]).status
    assert 401 == client.get("/api/studies", Cookie="makemore-search-8080=forged").status
    other = board.client(Access(token=TOKEN + "2"))
    assert 401 == other.get("/api/studies", Cookie=cookie.split(";")[0]).status


def test_the_link_leads_nowhere_else(board: Board) -> None:
    """A crafted path cannot make the redirect leave this origin."""
    reply = board.client(Access(token=TOKEN)).get(f"//evil.example/%5c?token={TOKEN}")
    assert re.fullmatch(r"/[^/\\].*", reply.headers["location"])


def test_people_without_a_token_see_a_form(board: Board) -> None:
    """A browser gets a page with a form that the page's own policy allows."""
    client = board.client(Access(token=TOKEN), Accept="text/html")
    reply = client.get("/dashboard")
    assert 401 == reply.status and "script" not in reply.text
    assert '<form action="/dashboard" method="get">' in reply.text
    HTMLParser().feed(reply.text)
    assert "form-action 'self'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1@evil", ""])
def test_another_host_name_is_refused(board: Board, host: str) -> None:
    """A foreign Host header (DNS rebinding) is refused before anything else."""
    assert 403 == board.client().get("/api/studies", Host=host).status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8080", "LOCALHOST:1"])
def test_this_machine_by_any_of_its_names(board: Board, host: str) -> None:
    """Loopback names work on any port, so that a forwarded port works."""
    assert 200 == board.client().get("/api/studies", Host=host).status


def test_further_names_can_be_allowed(board: Board) -> None:
    """--allow-host adds a name; beyond loopback a bare address is no rebinding."""
    access = Access(host="0.0.0.0", token=TOKEN, allowed_hosts=("box.lab",))
    client = board.client(access, Authorization=f"Bearer {TOKEN}")
    assert 200 == client.get("/api/studies", Host="box.lab:8080").status
    assert 200 == client.get("/api/studies", Host="10.1.2.3:8080").status
    assert 403 == client.get("/api/studies", Host="evil.example").status


@pytest.mark.parametrize("writable", [False, True])
def test_the_schema_is_never_migrated_from_here(board: Board, writable: bool) -> None:
    """The migration route is shut for every method, also when changes are allowed."""
    client = board.client(Access(writable=writable))
    paths = ("/incompatible-rdb-schema", "/incompatible-rdb-schema/")
    statuses = {client(m, path).status for m in ("GET", *UNSAFE) for path in paths}
    assert statuses <= {403, 405}


def test_the_database_itself_refuses_writes(board: Board) -> None:
    """Even a write that slipped past every layer would fail in the database."""
    board.client()
    with board._opened[-1].engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("DELETE FROM trials"))


# With --writable


def test_notes_can_be_written(board: Board) -> None:
    """What harms no study is allowed: a note."""
    client = board.client(Access(writable=True))
    assert 204 == client("PUT", "/api/studies/1/note", {"version": 1, "body": "mine"}).status
    assert "mine" == client.get("/api/studies/1").json["note"]["body"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/studies/1/rename", {"study_name": "other"}),
        ("POST", "/api/trials/1/tell", {"state": "Fail"}),
        ("POST", "/api/studies/1/1/skip", {}),
        ("PUT", "/api/studies/1/preference_feedback_component", {"output_type": "note"}),
    ],
)
def test_what_would_break_a_study_is_refused(
    board: Board, method: str, path: str, body: dict[str, Any]
) -> None:
    """Our tables and Optuna's stay of one mind: renaming and telling are refused, with a reason."""
    reply = board.client(Access(writable=True))(method, path, body)
    assert 403 == reply.status and "command line" in reply.json["reason"]


def test_creating_a_study_is_refused_naming_submit(board: Board) -> None:
    """A study without a corpus and a budget is one that no verb would know."""
    body = {"study_name": "mine", "directions": ["minimize"]}
    client = board.client(Access(writable=True))
    for path in ("/api/studies", "/api/studies/"):
        reply = client("POST", path, body)
        assert 403 == reply.status and "makemore-search submit" in reply.json["reason"]
    assert ["tiny"] == [each["study_name"] for each in listed(client)]


def test_only_known_changes_are_passed_on(board: Board) -> None:
    """Of our study nothing but notes, files and labels; and no route that a later dashboard adds,
    nor one whose number is written in other digits, is passed on, whosever study it is about."""
    client = board.client(Access(writable=True))
    harmless = ("/note", "/user-attrs", "/api/artifacts/")
    changing = [(m, path) for m, path in board.routes() if m in UNSAFE and m != "DELETE"]
    refused = [each for each in changing if not any(part in each[1] for part in harmless)]
    assert len(refused) >= 7
    unknown = ["/api/studies/1/migrate", "/api/import", "/api/studies/\u0661/rename", "/api/trials"]
    refused += [(method, path) for method in UNSAFE for path in unknown]
    for method, path in refused:
        reply = client(method, path, {"study_name": "other", "state": "Fail", "directions": []})
        assert 403 == reply.status and reply.json["reason"], (method, path)
    assert ["tiny"] == [each["study_name"] for each in listed(client)]


def test_a_study_of_optunas_may_be_changed(board: Board) -> None:
    """A study that Optuna made, in the same database, is renamed and deleted as ever."""
    with board.bed.optuna_storage() as storage:
        optuna.create_study(study_name="theirs", storage=storage)
    client = board.client(Access(writable=True))
    assert 201 == client("POST", "/api/studies/2/rename", {"study_name": "renamed"}).status
    assert {"tiny", "renamed"} == {each["study_name"] for each in listed(client)}
    number = max(each["study_id"] for each in listed(client))
    assert 204 == client("DELETE", f"/api/studies/{number}", {}).status
    assert ["tiny"] == [each["study_name"] for each in listed(client)]


def listed(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/api/studies").json["study_summaries"]
    return found


@pytest.mark.sqlite_file
def test_deleting_a_study_deletes_all_of_it(board: Board) -> None:
    """Deleting one of our studies there is what `delete` does."""
    illustrated(board.bed)
    client = board.client(Access(writable=True))
    assert 204 == client("DELETE", "/api/studies/1").status
    assert [] == board.bed.json("status")
    assert [] == list(board.bed.data_dir.artifacts().iterdir())
    with sqlite3.connect(board.bed.data_dir.database) as connection:
        assert (0,) == connection.execute("select count(*) from makemore_attempts").fetchone()
    connection.close()


def test_a_page_of_another_origin_changes_nothing(board: Board) -> None:
    """Cross-site requests are refused; the dashboard's own and a program's are not."""
    client = board.client(Access(writable=True))
    note = ("PUT", "/api/studies/1/note", {"version": 1, "body": "x"})
    for forged in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9999"},
    ):
        assert 403 == client(*note, **forged).status
    own = {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}
    assert 204 == client(*note, **own).status


# At the start


def test_beyond_this_machine_a_token_is_needed() -> None:
    """Listening on the network without a token is refused, with the remedy."""
    with pytest.raises(BadInput, match="--token-file"):
        Access(host="0.0.0.0")


def test_bad_starts_are_one_line_and_status_2(finished: Workspace, tmp_path: Path) -> None:
    """A taken port, no token, an empty token file, no storage: one line, exit status 2."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answers = [
            finished.cli("dashboard", "--port", port),
            finished.cli("dashboard", "--host", "0.0.0.0"),
            finished.cli("dashboard", "--token-file", empty),
            finished.cli("dashboard", "--token-file", tmp_path / "none"),
            finished.cli("dashboard", "--storage", f"sqlite:///{tmp_path}/none.db"),
        ]
    assert [2] * 5 == [answer.status for answer in answers]
    assert str(port) in answers[0].complaint
    assert all(answer.complaint for answer in answers)


# Beside a running study


def test_trials_are_read_as_optuna_reads_them(finished: Workspace) -> None:
    """The bulk reader gives exactly Optuna's trials, of workers and of Optuna in every state; this
    breaks when Optuna's schema changes."""
    with finished.optuna_storage() as storage:
        add_trials_of_optuna(optuna.load_study(study_name="tiny", storage=storage))
    quick = BulkReadStorage(finished.storage)
    expected = finished.storage.optuna.get_all_trials(1)
    assert expected == quick.get_all_trials(1)
    assert expected == quick.get_all_trials(1, deepcopy=False)
    complete = [trial for trial in expected if trial.state.name == "COMPLETE"]
    assert complete == quick.get_all_trials(1, states=(complete[0].state,))
    assert min(t.value for t in complete) == quick.get_best_trial(1).value


def add_trials_of_optuna(theirs: optuna.Study) -> None:
    """Trials that our writer did not write: complete, pruned, failed, running and waiting."""
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None):
        trial = theirs.ask()
        trial.suggest_float("weight", 1e-3, 1.0, log=True)
        trial.suggest_categorical("kind", ["a", None, 3, True])
        trial.suggest_int("size", 1, 9, step=2)
        trial.set_user_attr("about", {"words": ["é", 1]})
        for step, value in enumerate((2.5, float("inf"), float("-inf"))):
            trial.report(value, step)
        if state is not None:
            theirs.tell(trial, 9.5 if state == TrialState.COMPLETE else None, state)
    theirs.enqueue_trial({"weight": 0.5}, user_attrs={"by": "hand"})


CLOCKS_CHANGE = (datetime(2026, 3, 8, 3), datetime(2026, 11, 1, 2))
"""A few hours before New York's clocks are set forward and back, in UTC."""


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"], indirect=True)
def test_times_are_read_as_optuna_reads_them(bed: Workspace, zone: str) -> None:
    """Trials of workers and of Optuna, in any zone, also around the change of its clocks."""
    stored = bed.create(budget={"trials": 8})
    bed.work(stored)
    with bed.optuna_storage() as storage:
        ours = optuna.load_study(study_name=stored.name, storage=storage)
        ours.enqueue_trial({"embedding_size": 2})
        ours.tell(ours.ask(), 3.0)
        theirs = optuna.create_study(study_name="theirs", storage=storage)
        theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    _expect_the_times_of_optuna(bed)
    trials = optuna_tables.optuna_trials
    with bed.storage.write() as connection:
        for trial_id in range(1, 12):
            began = CLOCKS_CHANGE[trial_id % 2] + timedelta(minutes=45) * trial_id
            times = {"datetime_start": began, "datetime_complete": began + timedelta(hours=1)}
            connection.execute(update(trials).where(trials.c.trial_id == trial_id).values(**times))
    _expect_the_times_of_optuna(bed)


def _expect_the_times_of_optuna(bed: Workspace) -> None:
    """The bulk reader, at its first look and at its second, against Optuna over a new storage."""
    quick = BulkReadStorage(bed.storage)
    for study_id, name in enumerate(("tiny", "theirs"), start=1):
        with bed.optuna_storage() as storage:
            expected = optuna.load_study(study_name=name, storage=storage).trials
        for _ in range(2):
            assert expected == quick.get_all_trials(study_id)
        assert all(trial.datetime_start for trial in expected)


def test_no_worker_fails_while_browsers_poll(bed: Workspace) -> None:
    """A study runs to its end, without one database error, under four polling readers."""
    stored = bed.create(budget={"trials": 20})
    storage = open_storage(bed.url)
    client = Client(app.application(storage, bed.data_dir, Access()))
    going, statuses = threading.Event(), set[int]()

    def poll() -> None:
        while not going.wait(0.1):
            statuses.update(client.get(f"/api/studies{which}").status for which in ("", "/1"))

    readers = [threading.Thread(target=poll, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        started = bed.start("run", bed.root / "tiny.toml", "--workers", 2, "--trials", 20)
        answer = ended(started, timeout=120)
    finally:
        going.set()
    for reader in readers:
        reader.join()
    storage.close()
    assert 0 == answer.status, answer.err
    assert {200} == statuses
    logs = "".join(path.read_text() for path in (bed.data_dir.root / "logs").iterdir())
    assert "trying again" not in logs and "Traceback" not in logs
    assert 20 == len([t for t in bed.trials(stored) if t.state in ("complete", "pruned")])
