"""Studies over HTTP: as the verbs of the command line, with every mistake at once."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import tomli_w
from service import Service
from sqlalchemy import select, update
from workspace import Workspace, some_words, tiny

from search.service import middleware
from search.storage import tables
from search.storage.database import open_storage

Serve = Callable[..., Service]


def uploaded(client: Any, words: list[str] | None = None) -> str:
    """The fingerprint of an uploaded corpus."""
    text = "\n".join(some_words() if words is None else words)
    answer = client.post("/api/v1/corpora?name=mine", content=text)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["fingerprint"])


def document(client: Any, **sections: Any) -> dict[str, Any]:
    """The document of a tiny study over an uploaded corpus."""
    made = tiny(**sections)
    made["study"]["corpus"] = uploaded(client)
    return made


def test_the_list_and_the_status_are_those_of_the_command(
    finished: Workspace, serve: Serve
) -> None:
    """A study over HTTP has every key of `status`, with the same value."""
    client = serve(finished).client()
    (expected,) = finished.json("status")
    (listed,) = client.get("/api/v1/studies").json()
    shown = client.get("/api/v1/studies/tiny").json()
    assert expected.items() <= shown.items()
    assert {
        k: v for k, v in expected.items() if k not in ("jobs", "changes")
    }.items() <= listed.items()
    assert [] == client.get("/api/v1/studies?state=closed").json()
    paged = client.get("/api/v1/studies?page=2&state=done")
    assert [] == paged.json() and 'page=1&state=done>; rel="prev"' in paged.headers["link"]


def test_trials_are_those_of_the_command(finished: Workspace, serve: Serve) -> None:
    """All trials in one streamed answer, some of them by number, and one with its curve."""
    client = serve(finished).client()
    expected = finished.json("trials", "tiny")
    assert expected == client.get("/api/v1/studies/tiny/trials").json()
    assert expected[3:5] == client.get("/api/v1/studies/tiny/trials?after=2&limit=2").json()
    one = client.get("/api/v1/studies/tiny/trials/3").json()
    assert expected[3].items() <= one.items() and one["curve"] and one["worker"]["pid"]
    assert 404 == client.get("/api/v1/studies/tiny/trials/999").status_code


def test_a_study_is_submitted_twice_and_changed_never(bed: Workspace, serve: Serve) -> None:
    """As TOML or as JSON; the same again is 200, another definition 409, as `submit` does it."""
    client = serve(bed, writable=True).client()
    made = document(client)
    first = client.post("/api/v1/studies", json={"toml": tomli_w.dumps(made)})
    assert 201 == first.status_code, first.text
    assert "open" == first.json()["state"]
    again = client.post("/api/v1/studies", json={"study": made})
    assert 200 == again.status_code and "tiny" == again.json()["study"]
    made["study"]["seed"] = 7
    drifted = client.post("/api/v1/studies", json={"study": made})
    assert 409 == drifted.status_code and "study.seed" in drifted.json()["detail"]
    assert ["resume", "create"] == [
        each["action"] for each in client.get("/api/v1/studies/tiny").json()["changes"]
    ]


def test_all_mistakes_at_once_with_their_lines(bed: Workspace, serve: Serve) -> None:
    """422 with key, problem and line of each; of a corpus nothing but that it is none of ours."""
    client = serve(bed, writable=True).client()
    (bed.root / "words.txt").write_text("x")
    text = '[study]\nname = "a"\ncorpus = "{}"\ncolumn = 2\n[budget]\ntrails = 3\ntrials = 0\n'
    answers = [
        client.post("/api/v1/studies", json={"toml": text.format(path)}).json()
        for path in (bed.root / "words.txt", bed.root / "none.txt", "/etc/passwd", "0" * 64)
    ]
    assert 1 == len({json.dumps(answer) for answer in answers})
    assert [
        ("study.corpus", 3),
        ("study.column", 4),
        ("budget.trails", 6),
        ("budget.trials", 7),
    ] == [(mistake["key"], mistake["line"]) for mistake in answers[0]["mistakes"]]
    broken = client.post("/api/v1/studies", json={"toml": "[study\nname = 1"})
    assert 422 == broken.status_code and 1 == broken.json()["mistakes"][0]["line"]
    assert [] == bed.json("status")


@pytest.mark.parametrize(
    "body", ["[", "[]", "{}", '{"toml": 3}', '{"study": {"study": 4}}', "[" * 9999]
)
def test_what_is_no_study_is_refused(bed: Workspace, serve: Serve, body: str) -> None:
    """Whatever is sent as a study that is none is 422, or 400 if it is no JSON."""
    client = serve(bed, writable=True).client()
    answer = client.post(
        "/api/v1/studies", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422) and answer.json()["detail"]


def test_a_study_is_stopped_resumed_and_deleted(finished: Workspace, serve: Serve) -> None:
    """The history of a study names who did what; deleting asks for the study's name."""
    service = serve(finished)
    ann, root = (
        service.client(service.token("submit", "ann")),
        service.client(service.token("admin")),
    )
    stopped = ann.post("/api/v1/studies/tiny/stop")
    assert 202 == stopped.status_code
    resumed = ann.post("/api/v1/studies/tiny/resume", json={"trials": 20, "timeout": "2h"})
    assert (202, 20, 7200.0) == (
        resumed.status_code,
        resumed.json()["budget"]["trials"],
        resumed.json()["timeout"],
    )
    assert [("resume", "ann"), ("stop", "ann")] == [
        (each["action"], each["token"]) for each in finished.json("status", "tiny")["changes"]
    ]
    assert 422 == ann.post("/api/v1/studies/tiny/resume", json={"timeout": "soon"}).status_code
    assert 403 == ann.delete("/api/v1/studies/tiny?confirm=tiny").status_code
    assert 422 == root.delete("/api/v1/studies/tiny?confirm=tinny").status_code
    assert 204 == root.delete("/api/v1/studies/tiny?confirm=tiny").status_code
    assert 404 == root.get("/api/v1/studies/tiny").status_code
    assert [] == finished.json("status")


def test_a_token_has_limits(bed: Workspace, serve: Serve) -> None:
    """Studies, trials, memory and bytes of corpora that exceed a token's limits are refused."""
    service = serve(bed)
    limits = {"studies": 1, "trials": 15, "memory": 10**9, "corpus_bytes": 2_000}
    client = service.client(service.token("submit", "ann", **limits))
    made = document(client, limits={"memory": "1GB"})
    more = client.post("/api/v1/corpora", content="\n".join(some_words(seed=5)))
    assert 403 == more.status_code and "corpora" in more.json()["detail"]

    def posted(**sections: Any) -> int:
        changed = {**made, **{k: {**made.get(k, {}), **v} for k, v in sections.items()}}
        return int(client.post("/api/v1/studies", json={"study": changed}).status_code)

    assert 403 == posted(limits={"memory": "2GB"})
    assert 403 == posted(budget={"trials": 16})
    assert [] == bed.json("status")
    assert 201 == posted()
    assert 403 == posted(study={"name": "second"})
    assert 403 == client.post("/api/v1/studies/tiny/resume", json={"trials": 16}).status_code
    assert 202 == client.post("/api/v1/studies/tiny/resume", json={"trials": 15}).status_code


def test_best_model_and_samples(finished: Workspace, serve: Serve) -> None:
    """The winner as `best` shows it, its model's bytes, and words as `sample` draws them, in the
    service by a process of its own, whose errors are the request's."""
    client = serve(finished, helpers=True).client()
    best = finished.json("best", "tiny")
    shown = client.get("/api/v1/studies/tiny/best").json()
    assert best | {"count_model": None} == shown | {"count_model": None}
    model = client.get("/api/v1/studies/tiny/model")
    assert f'"{best["checkpoint_sha256"]}"' == model.headers["etag"] and len(model.content) > 100
    query = "n=5&seed=3&temperature=0.8&prefix=a&new=true"
    drawn = client.get(f"/api/v1/studies/tiny/samples?{query}")
    assert (
        finished.json(
            "sample", "tiny", "-n", 5, "--seed", 3, "--temperature", 0.8, "--prefix", "a", "--new"
        )
        == drawn.json()
    )
    assert 400 == client.get("/api/v1/studies/tiny/samples?prefix=%21").status_code
    assert 422 == client.get("/api/v1/studies/tiny/samples?n=0").status_code


def test_the_test_split_is_opened_once(finished: Workspace, serve: Serve) -> None:
    """`test` needs `admin` and the study's name; a second one shows the same, and no change."""
    service = serve(finished)
    submit, admin = service.client(service.token("submit")), service.client(service.token("admin"))
    path, body = "/api/v1/studies/tiny/test", {"confirm": "tiny"}
    assert 403 == submit.post(path, json=body).status_code
    assert 422 == admin.post(path, json={"confirm": "other"}).status_code
    first, second = admin.post(path, json=body), admin.post(path, json=body)
    assert 200 == first.status_code, first.text
    assert first.json() | {"first_time": False} == second.json() and first.json()["first_time"]
    shown = admin.get("/api/v1/studies/tiny").json()
    assert "closed" == shown["state"] and ["test"] == [c["action"] for c in shown["changes"]]
    assert 409 == admin.post("/api/v1/studies/tiny/resume").status_code
    assert 409 == admin.post("/api/v1/studies/tiny/confirm").status_code


def test_a_trial_shows_what_its_worker_logged_meanwhile(finished: Workspace, serve: Serve) -> None:
    """The last lines within its time, of a log of this host; of another host's none is known. The
    name of a log leads to no other directory."""
    client, path = serve(finished).client(), "/api/v1/studies/tiny/trials/3"
    moments = [client.get(path).json()[key] for key in ("started_at", "ended_at")]
    begun, ended = (datetime.fromisoformat(moment) for moment in moments)
    times = (begun - timedelta(hours=1), begun, ended, ended + timedelta(hours=1))
    lines = [f"{at.astimezone():%Y-%m-%d %H:%M:%S},000 INFO line {n}" for n, at in enumerate(times)]
    lines.insert(2, "of line 1 as well \x1b[31m")
    for place in (finished.data_dir.logs, finished.root):
        place.mkdir(exist_ok=True)
        (place / "worker.log").write_text("\n".join(lines) + "\n" * (place == finished.root))
    w = tables.workers
    for values, expected in (
        ({"log": None}, None),
        ({"log": "../../worker.log"}, [lines[1], "of line 1 as well \\x1b[31m", lines[3]]),
        ({"host": "elsewhere"}, None),
    ):
        with finished.storage.write() as connection:
            connection.execute(update(w).values(**values))
        assert expected == client.get(path).json()["log"]


def test_the_report_is_one_page_with_an_origin_of_its_own(
    finished: Workspace, serve: Serve
) -> None:
    """Its scripts reach nothing of the service; with `download` it is a file."""
    service = serve(finished)
    path = "/api/v1/studies/tiny/report"
    shown = service.client().get(path)
    assert (200, "text/html; charset=utf-8") == (
        shown.status_code,
        shown.headers["content-type"],
    )
    assert "tiny" in shown.text and shown.text.rstrip().endswith("</html>")
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "content-disposition" not in shown.headers
    saved = service.client().get(f"{path}?download=1")
    assert 'attachment; filename="tiny-report.html"' == saved.headers["content-disposition"]
    assert 404 == service.client().get("/api/v1/studies/none/report").status_code


def test_a_locked_storage_is_not_waited_for_long(
    finished: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as another program holds a study's lock, a change is 503 with a reason, where a
    worker would wait for a minute; afterwards it goes well."""
    finished.storage.limit_waiting(0.1)
    client = serve(finished, writable=True).client()
    other = open_storage(finished.url)
    with other.write() as connection:
        connection.execute(select(tables.studies.c.uid).with_for_update()).all()
        with monkeypatch.context() as impatient:
            impatient.setattr(middleware, "STORAGE_SECONDS", 0.2)
            refused = client.post("/api/v1/studies/tiny/stop")
    other.close()
    assert 503 == refused.status_code, refused.text
    assert "lock" in refused.json()["detail"]
    assert 202 == client.post("/api/v1/studies/tiny/stop").status_code
