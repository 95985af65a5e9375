"""Webhooks: to whom they go, what they say, and where they never go."""

import base64
import datetime
import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from receiver import Receiver, accept, serving
from service import Service
from sqlalchemy import select
from workspace import Workspace, wait_until

from search.errors import BadInput
from search.service import notifier, webhooks
from search.service.notifier import Notifications
from search.service.webhooks import DeliveryFailed, Message
from search.spec.sections import NotifySection
from search.storage import tables

KEY = b"k" * 32
MESSAGE = Message("event-1", b'{"type": "study.done"}', 1_700_000_000)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as made:
        yield made


def send(url: str, allow_private: bool = True) -> None:
    webhooks.send(url, KEY, MESSAGE, allow_private=allow_private)


def notifications(**default: Any) -> Notifications:
    return Notifications(KEY, NotifySection(**default), allow_private=True)


# What is sent


def test_a_webhook_is_signed_as_standard_webhooks_are(receiver: Receiver) -> None:
    """Whoever has the key can check the body, its id and the time of the try."""
    send(receiver.url("/hook?x=1"))
    ((path, headers, body),) = receiver.requests
    assert ("/hook?x=1", MESSAGE.body) == (path, body)
    signed = b"event-1.1700000000." + body
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert f"v1,{expected}" == headers["webhook-signature"]
    assert ("event-1", "1700000000") == (headers["webhook-id"], headers["webhook-timestamp"])


def test_a_done_study_is_told_of_once(bed: Workspace, receiver: Receiver) -> None:
    """By the service's thread, with what the study came to; afterwards its address is forgotten."""
    bed.work(bed.create(budget={"trials": 2}, notify={"url": receiver.url()}))
    with notifier.delivering(bed.storage, notifications()):
        wait_until(lambda: receiver.requests)
        wait_until(lambda: _outbox(bed)[0].delivered_at)
    assert not notifier.deliver_next(bed.storage, notifications())
    ((_, headers, body),) = receiver.requests
    told = json.loads(body)
    assert ("study.done", "tiny", "trials") == (
        told["type"],
        told["data"]["study"],
        told["data"]["ended_by"],
    )
    assert bed.json("best", "tiny")["dev_loss"] == told["data"]["dev_loss"]
    row = _outbox(bed)[0]
    assert (headers["webhook-id"], None, None) == (row.id, row.url, row.problem)


def test_the_service_tells_of_studies_without_a_webhook(bed: Workspace, receiver: Receiver) -> None:
    """Of the events that its own table names; a study's own address comes before it."""
    bed.work(bed.create(budget={"trials": 1}))
    assert notifier.deliver_next(bed.storage, notifications(url=receiver.url(), on=["trouble"]))
    assert [] == receiver.requests
    for name, notify in (("one", {}), ("two", {"url": receiver.url("/own")})):
        bed.work(bed.create(study={"name": name}, budget={"trials": 1}, notify=notify))
    while notifier.deliver_next(bed.storage, notifications(url=receiver.url("/all"))):
        pass
    told = {json.loads(body)["data"]["study"]: path for path, _, body in receiver.requests}
    assert {"one": "/all", "two": "/own"} == told


def test_what_fails_is_tried_again(
    bed: Workspace, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """With the same id and body; the log and the record name the host and no more."""
    bed.work(bed.create(budget={"trials": 1}, notify={"url": receiver.url()}))
    receiver.answer = lambda handler: handler.send_error(500)
    with caplog.at_level(logging.INFO):
        notifier.deliver_next(bed.storage, notifications())
    row = _outbox(bed)[0]
    assert row.delivered_at is None and row.next_try_at > time.time() - 5
    assert "answered with status 500" in row.problem
    assert "secret" not in row.problem + caplog.text
    with bed.storage.write() as connection:
        connection.execute(tables.outbox.update().values(next_try_at=0.0))
    receiver.answer = accept
    notifier.deliver_next(bed.storage, notifications())
    (first, second) = receiver.requests
    assert (first[1]["webhook-id"], first[2]) == (second[1]["webhook-id"], second[2])
    assert _outbox(bed)[0].delivered_at is not None


def _outbox(bed: Workspace) -> Any:
    with bed.storage.read() as connection:
        return connection.execute(select(tables.outbox)).all()


# Where it never goes


@pytest.mark.parametrize(
    "address",
    (
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.1.1"),
        *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254", "100.100.100.200"),
        *("0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"),
    ),
)
def test_some_addresses_are_never_connected_to(address: str) -> None:
    """Link-local ones, those of clouds' credentials, and those of no host, in every disguise."""
    assert webhooks.refusal(address, True) is not None
    assert webhooks.refusal(address, False) is not None


@pytest.mark.parametrize(
    "address",
    (
        *("127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1"),
        *("fec0::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::a00:1", "2002:a00:1::"),
        *("::10.0.0.1", "198.18.0.1"),
    ),
)
def test_private_networks_are_for_the_operator_to_allow(address: str) -> None:
    """Without the option they are refused, and its name is said."""
    assert webhooks.refusal(address, True) is None
    assert "--private-webhooks" in str(webhooks.refusal(address, False))


def test_a_refused_address_gets_no_connection(receiver: Receiver) -> None:
    """The name is resolved, and nothing is sent."""
    with pytest.raises(DeliveryFailed, match="private network"):
        send(receiver.url(host="localhost"), allow_private=False)
    assert [] == receiver.requests


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """It is a failure, and the place that it names is not asked."""

    def redirect(handler: Any) -> None:
        handler.send_response(307)
        handler.send_header("Location", receiver.url("/elsewhere"))
        handler.end_headers()

    receiver.answer = redirect
    with pytest.raises(DeliveryFailed, match="redirects"):
        send(receiver.url())
    assert 1 == len(receiver.requests)


def test_a_name_is_resolved_once(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was looked at; a second answer is not asked for."""
    asked: list[Any] = []
    resolve = socket.getaddrinfo

    def once(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return resolve("127.0.0.1" if host == "hooks.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    send(receiver.url(host="hooks.example"))
    assert 1 == asked.count("hooks.example") and {"hooks.example", "127.0.0.1"} == {*asked}
    assert f"hooks.example:{receiver.server_address[1]}" == receiver.requests[0][1]["Host"]


def test_the_certificate_must_be_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS checks the name in the address, although the connection goes to a number."""
    certificate = _certificate(tmp_path, "hooks.example")
    secured = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secured.socket = context.wrap_socket(secured.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *a, **k: resolve("127.0.0.1", *a, **k))
    with serving(secured):
        port = secured.server_address[1]
        send(f"https://hooks.example:{port}/x")
        with pytest.raises(DeliveryFailed, match=r"other\.example"):
            send(f"https://other.example:{port}/x")
    assert 1 == len(secured.requests)


def _certificate(place: Path, name: str) -> Path:
    """A self-signed certificate with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path = place / "certificate.pem"
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(encoding)
    )
    return path


def test_a_receiver_that_drips_is_cut_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte is in time; the whole answer never comes."""
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.3)
    ended = threading.Event()

    def drip(handler: Any) -> None:
        while not ended.wait(0.02):
            handler.wfile.write(b"H")

    receiver.answer = lambda handler: _until_closed(handler, drip)
    try:
        with pytest.raises(DeliveryFailed):
            send(receiver.url())
    finally:
        ended.set()


def test_of_an_endless_answer_a_little_is_read(receiver: Receiver) -> None:
    """It counts as delivered, by its status; the connection is closed."""
    closed = threading.Event()

    def flood(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65_536)

    def answer(handler: Any) -> None:
        _until_closed(handler, flood)
        closed.set()

    receiver.answer = answer
    send(receiver.url())
    assert closed.wait(30)


def _until_closed(handler: Any, write: Callable[[Any], None]) -> None:
    try:
        write(handler)
    except OSError:
        handler.close_connection = True


# The address and the key are secrets


def test_no_answer_shows_an_address(bed: Workspace, serve: Callable[..., Service]) -> None:
    """Neither a verb, nor the report, nor a page, nor the API, nor a mistake in the file; the
    database alone has it."""
    url = "https://me:pw@hooks.example/T0/secret?key=1"
    file = bed.file(budget={"trials": 1}, notify={"url": url})
    stored = bed.create(file)
    bed.work(stored)
    bed.json("report", "tiny", "-o", bed.root / "report.html")
    said = [(bed.root / "report.html").read_text(), repr(stored)]
    for verb in ("status", "trials", "best"):
        said += [bed.cli(verb, "tiny").out, bed.cli(verb, "tiny", "--json").out]
    said.append(bed.cli("preview", file, "--json").out)
    for wrong in (url.replace("https", "gopher"), f"{url}\u00e9", [url], "x" * 3000 + "secret"):
        answer = bed.cli("preview", bed.file("wrong.toml", notify={"url": wrong}))
        assert 2 == answer.status and "notify.url" in answer.complaint
        said.append(answer.complaint)
    client = serve(bed, writable=True).client()
    for path in ("/", "/studies/tiny", "/submit?like=tiny", "/api/v1/studies/tiny"):
        answered = client.get(path, follow_redirects=True)
        assert 200 == answered.status_code, path
        said.append(answered.text)
    assert "tiny-2" in said[-2]
    assert not [text for text in said if "secret" in text or ":pw@" in text]
    assert "https://hooks.example" == webhooks.redacted(url)


def test_the_key_belongs_to_the_service(bed: Workspace) -> None:
    """Made once, for its owner alone; one that others can read, or that is none, is refused."""
    path = bed.data_dir.webhook_key
    key = notifier.signing_key(bed.data_dir)
    assert (32, key) == (len(key), notifier.signing_key(bed.data_dir))
    assert 0o600 == path.stat().st_mode & 0o777
    path.chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        notifier.signing_key(bed.data_dir)
    path.chmod(0o600)
    path.write_text("whsec_!")
    with pytest.raises(BadInput, match="holds no key"):
        notifier.signing_key(bed.data_dir)
    assert [path] == [*bed.data_dir.root.glob("*webhook.key*")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[notify]\nurl = 'https://h/secret'\non = ['gone']", "notify.on"),
        ("[notify]\nurl = 'ftp://h/secret'", "notify.url"),
        ("[other]", "no table"),
        ("[notify", "not TOML"),
    ],
)
def test_a_mistake_in_the_service_s_own_file_is_one_line(
    bed: Workspace, text: str, expected: str
) -> None:
    """Exit status 2, nothing created, and no address in it."""
    path = bed.root / "notify.toml"
    path.write_text(text)
    answer = bed.cli("serve", "--notify", path, "--port", 0)
    assert (2, True) == (answer.status, bed.is_untouched)
    assert expected in answer.complaint and "secret" not in answer.complaint
