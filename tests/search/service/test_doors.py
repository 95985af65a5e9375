"""Who may enter the service, and through which door."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from service import Service
from starlette.requests import ClientDisconnect
from workspace import Workspace

from search.study import study
from search.trials import leases

Serve = Callable[..., Service]


def studies_of(answer: Any) -> list[str]:
    """The names in Optuna's list of studies."""
    return [each["study_name"] for each in answer.json()["study_summaries"]]


def test_loopback_reads_until_there_is_a_token(finished: Workspace, serve: Serve) -> None:
    """One person on one machine reads without a token; with the first token that ends, and does not
    come back when it is revoked."""
    service = serve(finished)
    client = service.client()
    assert 200 == client.get("/").status_code
    assert "Optuna Dashboard" in client.get("/dashboard").text
    assert ["tiny"] == studies_of(client.get("/api/studies"))
    secret = service.token("read", "ann")
    assert 401 == client.get("/").status_code
    assert 401 == client.get("/api/studies").status_code
    with_token = service.client(secret)
    assert ["tiny"] == studies_of(with_token.get("/api/studies"))
    service.revoke("ann")
    assert 401 == with_token.get("/api/studies").status_code
    assert 401 == client.get("/api/studies").status_code


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"]
)
def test_what_a_proxy_forwards_is_no_loopback(
    finished: Workspace, serve: Serve, header: str
) -> None:
    """A request that a proxy on this machine passes on comes from anywhere."""
    client = serve(finished).client(**{header: "127.0.0.1"})
    assert 401 == client.get("/api/studies").status_code


def test_without_a_token_nothing_is_deleted(finished: Workspace, serve: Serve) -> None:
    """On loopback `--writable` gives `submit`, which deletes and tests nothing."""
    reading, writing = serve(finished).client(), serve(finished, writable=True).client()
    note = {"version": 1, "body": "mine"}
    assert 403 == reading.put("/api/studies/1/note", json=note).status_code
    assert 204 == writing.put("/api/studies/1/note", json=note).status_code
    assert 403 == writing.delete("/api/studies/1").status_code
    assert ["tiny"] == studies_of(writing.get("/api/studies"))


def test_a_browser_exchanges_the_token_for_a_cookie(finished: Workspace, serve: Serve) -> None:
    """The form and the link set a strict, http-only cookie; it ends when the token is revoked."""
    service = serve(finished)
    secret = service.token("read", "ann")
    browser = service.client(Accept="text/html")
    form = browser.get("/")
    assert 401 == form.status_code and "script" not in form.text
    assert '<form action="/sign-in" method="post">' in form.text
    assert 401 == browser.post("/sign-in", data={"token": secret + "x"}).status_code
    assert 401 == browser.get("/").status_code
    for answer in (
        browser.post("/sign-in", data={"token": secret}),
        browser.get(f"//evil.example/%5c?token={secret}&a=b"),
    ):
        assert 303 == answer.status_code
        assert re.fullmatch(r"/([^/\\].*)?", answer.headers["location"])
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and secret not in cookie
    assert 200 == browser.get("/").status_code
    service.revoke("ann")
    assert 401 == browser.get("/").status_code


def test_the_session_of_a_token_file_ends_with_its_token(finished: Workspace, serve: Serve) -> None:
    """`--token-file` is an admin token; another token ends every session of it."""
    browser = serve(finished, token="old-secret").client()
    browser.post("/sign-in", data={"token": "old-secret"})
    assert 200 == browser.get("/").status_code
    other = serve(finished, token="new-secret").client()
    other.cookies.update(browser.cookies)
    assert 401 == other.get("/").status_code
    admin = serve(finished, token="secret").client("secret")
    assert 204 == admin.delete("/api/studies/1").status_code


def test_signing_out_ends_the_session_itself(finished: Workspace, serve: Serve) -> None:
    """A cookie that somebody copied is of no use after its browser has signed out."""
    service = serve(finished)
    browser = service.client()
    browser.post("/sign-in", data={"token": service.token("read")})
    copied = dict(browser.cookies)
    browser.post("/sign-out", headers={"Origin": "http://localhost"})
    thief = service.client()
    thief.cookies.update(copied)
    assert 401 == thief.get("/").status_code


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1@evil", ""])
def test_another_host_name_is_refused(finished: Workspace, serve: Serve, host: str) -> None:
    """A foreign Host header (DNS rebinding) is refused before anything else, with one line."""
    answer = serve(finished).client(Host=host).get("/api/studies")
    assert 403 == answer.status_code and "--allow-host" in answer.json()["detail"]


def test_further_names_and_addresses(finished: Workspace, serve: Serve) -> None:
    """--allow-host adds a name; beyond loopback a bare address is no rebinding."""
    service = serve(finished, host="0.0.0.0", token="secret", allowed_hosts=("box.lab",))
    for host, status in (("box.lab:80", 200), ("10.1.2.3:80", 200), ("evil.example", 403)):
        assert status == service.client("secret", Host=host).get("/api/studies").status_code


def test_a_page_of_another_origin_changes_nothing(finished: Workspace, serve: Serve) -> None:
    """Cross-site requests are refused, and those with a cookie that do not say where they come
    from; our own pages' and a program's are not."""
    service = serve(finished)
    secret = service.token("submit")
    browser = service.client()
    browser.post("/sign-in", data={"token": secret})
    note = ("/api/studies/1/note",)
    for forged in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://localhost:9999"},
        {},
    ):
        answer = browser.put(*note, json={"version": 1, "body": "x"}, headers=forged)
        assert 403 == answer.status_code, forged
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    answers = [
        browser.put(*note, json={"version": 1, "body": "x"}, headers=own),
        service.client(secret).put(*note, json={"version": 2, "body": "x"}),
    ]
    assert [204, 204] == [answer.status_code for answer in answers]


def test_errors_are_problem_documents(finished: Workspace, serve: Serve) -> None:
    """What is not there, and what is not allowed there, is one line in the form of RFC 9457."""
    client = serve(finished).client()
    for answer, status in (
        (client.get("/api/v1/nothing"), 404),
        (client.post("/healthz"), 405),
        (client.get("/healthz", headers={"Host": "evil.example"}), 403),
    ):
        assert status == answer.status_code == answer.json()["status"]
        assert "application/problem+json" == answer.headers["content-type"]
        assert answer.json()["detail"] and "nosniff" == answer.headers["x-content-type-options"]


def test_head_is_answered_as_get(finished: Workspace, serve: Serve) -> None:
    """With GET's header and without its body; also of a stream that has no end."""
    client = serve(finished).client()
    for path in ("/healthz", "/", "/api/v1/studies/tiny", "/dashboard", "/api/v1/nothing"):
        shown, asked = client.get(path), client.head(path)
        assert (shown.status_code, b"") == (asked.status_code, asked.content), path
        assert shown.headers.get("content-length") == asked.headers.get("content-length"), path
    leases.register_worker(finished.storage, study.resolve(finished.storage, "tiny"))
    assert 200 == client.head("/api/v1/studies/tiny/events").status_code


def test_an_error_is_one_line_of_the_log(
    finished: Workspace,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever a path has in it; who has gone is no error."""

    def fail(error: Exception) -> None:
        def raises(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(study, "find", raises)

    client = serve(finished).client()
    fail(ClientDisconnect())
    with pytest.raises(Exception, match="response"):  # nobody was answered
        client.get("/api/v1/studies/tiny/best")
    assert [] == caplog.messages
    fail(ZeroDivisionError())
    answer = client.get("/api/v1/studies/a%0Ab/best")
    assert 500 == answer.status_code and "log" in answer.json()["detail"]
    assert [r"GET /api/v1/studies/a\nb/best"] == caplog.messages
