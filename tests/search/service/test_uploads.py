"""Corpora over HTTP: uploaded within a limit, checked as files are, never read by a path."""

from collections.abc import Callable
from typing import Any

import pytest
from service import Service
from workspace import Workspace, some_words

from search.service import corpora

Serve = Callable[..., Service]
PATH = "/api/v1/corpora"


def test_an_uploaded_corpus_is_kept_and_described(bed: Workspace, serve: Serve) -> None:
    """The same words by any way are one corpus; its description is that of the file."""
    client = serve(bed, writable=True).client()
    text = "\n".join(some_words())
    first = client.post(f"{PATH}?name=mine", content=text)
    again = client.post(PATH, files={"file": ("../x/other.txt", text.replace("\n", "\r\n"))})
    assert (201, 200) == (first.status_code, again.status_code)
    fingerprint = first.json()["fingerprint"]
    assert fingerprint == again.json()["fingerprint"]
    names = [each["name"] for each in client.get(PATH).json()]
    assert ["first-names", "names", "mine"] == names
    expected = bed.json("corpus", bed.corpus())
    shown = client.get(f"{PATH}/{fingerprint}").json()
    assert expected | {"name": "mine"} == shown
    table = client.post(f"{PATH}?column=2&separator=tab", content=text.replace("\n", "\tb\n"))
    assert 422 == table.status_code and "nothing" not in table.json()["detail"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no words"),
        (b"a\nb\n", "at least"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"\x1f\x8b" + bytes(50), "compressed"),
        (b"caf\xe9\n" * 20, "not UTF-8"),
        (b"a.b\n" * 20, "boundary"),
        (b'{"a": 1}\n' * 20, "JSON"),
    ],
)
def test_what_the_command_refuses_is_refused(
    bed: Workspace, serve: Serve, content: bytes, says: str
) -> None:
    """A bad corpus is 422 with the command's line, and nothing is kept."""
    client = serve(bed, writable=True).client()
    answer = client.post(PATH, content=content)
    assert 422 == answer.status_code
    (bed.root / "upload.txt").write_bytes(content)
    complaint = bed.cli("corpus", bed.root / "upload.txt").complaint
    assert says.lower() in answer.json()["detail"].lower(), (answer.json(), complaint)
    assert 2 == len(client.get(PATH).json())


def test_an_upload_ends_at_its_limit(bed: Workspace, serve: Serve) -> None:
    """More than the limit is 413: at once where a header says so, else as soon as it has come."""
    service = serve(bed, writable=True)
    client = service.client()
    headers = {"Content-Length": str(10**9)}
    assert 413 == client.post(PATH, content=b"", headers=headers).status_code
    assert 413 == client.post("/api/v1/studies", content=b" " * 2_000_000).status_code
    sent, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 10**6
        return {"type": "http.request", "body": b"abcdefg\n" * 125_000, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "root_path": ""}
    scope |= {"headers": [(b"host", b"localhost")], "client": None, "server": None}
    assert client.portal is not None
    client.portal.call(service.app, scope, receive, send)
    assert 413 == statuses[0] and sent < 2 * corpora.MAX_UPLOAD


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "words.txt", "a" * 64]
)
def test_no_path_is_a_corpus(bed: Workspace, serve: Serve, name: str) -> None:
    """Whether or not there is such a file, the answer is the same 404."""
    bed.corpus()
    client = serve(bed).client()
    assert 404 == client.get(f"{PATH}/{name}").status_code
    assert 404 == client.get(f"/api/v1/studies/{name}").status_code


def test_a_deleted_corpus_stays_with_its_studies(bed: Workspace, serve: Serve) -> None:
    """Deleting an upload needs `admin`; a study of it keeps its words."""
    service = serve(bed)
    submit, admin = service.client(service.token("submit")), service.client(service.token("admin"))
    fingerprint = submit.post(PATH, content="\n".join(some_words())).json()["fingerprint"]
    document = {"study": {"name": "a", "corpus": fingerprint}}
    assert 201 == submit.post("/api/v1/studies", json={"study": document}).status_code
    assert 403 == submit.delete(f"{PATH}/{fingerprint}").status_code
    assert 204 == admin.delete(f"{PATH}/{fingerprint}").status_code
    assert 404 == admin.delete(f"{PATH}/{fingerprint}").status_code
    assert 202 == submit.post("/api/v1/studies/a/resume").status_code
    assert [] == [each for each in submit.get(PATH).json() if not each["built_in"]]


@pytest.mark.parametrize("path", [PATH, "/corpora", "/api/v1/studies", "/submit", "/api/studies"])
def test_what_a_stranger_sends_is_not_read(bed: Workspace, serve: Serve, path: str) -> None:
    """Without a token a body takes neither memory nor a disk: it is refused before it comes."""
    service = serve(bed)
    service.token("read")
    portal, sent, statuses = service.client().portal, [], list[Any]()

    async def receive() -> dict[str, Any]:
        sent.append(1)
        return {"type": "http.request", "body": b"x" * 10**6, "more_body": len(sent) < 100}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": ""}
    kind = b"multipart/form-data; boundary=x" if path == "/corpora" else b"application/json"
    headers = [(b"host", b"localhost"), (b"content-type", kind)]
    scope |= {"headers": headers, "client": None, "server": None}
    assert portal is not None
    portal.call(service.app, scope, receive, send)
    assert (401, []) == (statuses[0], sent)
