"""Sends one webhook: signed, over a connection to an address that was looked at, bounded in time.

The format is that of Standard Webhooks (https://www.standardwebhooks.com), which receivers have
libraries for: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is
`v1,` and the base64 of an HMAC-SHA256 over `ID.TIMESTAMP.BODY`.

The name of the host is resolved once, and the connection goes to the address that was checked, so
that a second answer of a name server cannot lead elsewhere. Neither redirects nor proxies of the
environment are followed.
"""

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import SplitResult, unquote, urlsplit

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
"""From the connection to the end of the answer; a receiver that drips bytes gains nothing."""
MAX_ANSWER = 65_536
"""Bytes of an answer's body that are read; none of them is used."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = {ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200")}
"""Where clouds give out credentials, besides the link-local 169.254.169.254."""
NAT64 = [ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]
"""Networks of IPv6 whose addresses end in one of IPv4; `::/96` is the oldest."""
PRIVATE = [ipaddress.ip_network("fec0::/10")]
"""Besides what `is_global` knows: the site-local ones of old."""
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")


class DeliveryFailed(Exception):
    """A webhook was not delivered; the message is for people, and without the address."""


@dataclass(frozen=True)
class Message:
    """What is sent."""

    id: str
    body: bytes
    timestamp: int
    """Seconds since 1970, when this try is made."""


def redacted(url: str) -> str:
    """A webhook's address for people: without what may be a secret.

    >>> redacted("https://me:pw@hooks.example:8443/T0/secret?key=1")
    'https://hooks.example:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def signature(key: bytes, message: Message) -> str:
    """The value of `webhook-signature`.

    >>> signature(b"key", Message("one", b"{}", 1))
    'v1,WkOS4jKt6c//VrhGtxJRDdpyywSYMHsQKJDmburEv3g='
    """
    signed = f"{message.id}.{message.timestamp}.".encode() + message.body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def send(url: str, key: bytes, message: Message, *, allow_private: bool) -> None:
    """Posts a message, and returns if the receiver answers with a status of 2xx.

    Raises:
        DeliveryFailed: it did not, or its address is not one to connect to.
    """
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"makemore-search/{version('makemore-search')}",
        "webhook-id": message.id,
        "webhook-timestamp": str(message.timestamp),
        "webhook-signature": signature(key, message),
    }
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        address = _resolve(parts, allow_private)
        with _connection_to(parts, address) as connection:
            connection.request("POST", target, message.body, headers)
            answer = connection.getresponse()
            answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DeliveryFailed(f"{redacted(url)}: {reason}") from None
    if answer.status // 100 == 3:
        raise DeliveryFailed(f"{redacted(url)}: redirects, which is not followed")
    if answer.status // 100 != 2:
        raise DeliveryFailed(f"{redacted(url)}: answered with status {answer.status}")


def _resolve(parts: SplitResult, allow_private: bool) -> str:
    """The address of a host, as the resolver gives it, that may be connected to.

    Raises:
        DeliveryFailed: it has none.
    """
    found = socket.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    refusals = [refusal(address, allow_private) for address in addresses]
    for address, refused in zip(addresses, refusals, strict=True):
        if refused is None:
            return address
    raise DeliveryFailed(f"{parts.scheme}://{parts.hostname}: {refusals[0]}")


def refusal(text: str, allow_private: bool) -> str | None:
    """Why an address is not connected to; None if it is.

    >>> refusal("169.254.169.254", True)
    'its address is link-local, and never connected to'
    >>> refusal("10.0.0.1", True), refusal("93.184.215.14", False)
    (None, None)
    """
    address = _embedded(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address in METADATA:
        return "its address is link-local, and never connected to"
    is_odd = address.is_multicast or address.is_unspecified or address.is_reserved
    if (is_odd and not address.is_loopback) or address in THIS_NETWORK:
        return "its address is none of a host"
    is_private = not address.is_global or any(address in each for each in PRIVATE)
    if is_private and not allow_private:
        return "its address is of a private network, which `serve --private-webhooks` allows"
    return None


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it is one of those."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in each for each in NAT64) and not address.is_loopback:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (0, address))[1]


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _connection_to(parts: SplitResult, address: str) -> Iterator[http.client.HTTPConnection]:
    """A connection to an address that speaks as to the host of that name, cut when time is up."""
    is_secure, host, port = parts.scheme == "https", parts.hostname or "", _port(parts)
    connection = http.client.HTTPConnection(host, port)
    connection.default_port = 443 if is_secure else 80  # with any other the Host header has a port
    sock = socket.create_connection((address, port), CONNECT_SECONDS)
    timer = threading.Timer(TOTAL_SECONDS, lambda: _cut(sock))
    timer.daemon = True
    timer.start()
    try:
        if is_secure:
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            sock.do_handshake()
        connection.sock = sock
        yield connection
    finally:
        timer.cancel()
        connection.close()
        sock.close()


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # also below TLS, whose reader then fails
