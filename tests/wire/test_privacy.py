"""Key and conversation go to the gateway and nowhere else, and the key shows itself nowhere.

netrc, proxies, cookies, redirects and TLS; then every place a key could slip into: reprs, the log,
exceptions with all that hangs on them, tracebacks with local variables, pickles.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import pickle
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pi_native import (
    AbortError,
    AssistantMessage,
    AssistantMessageEventStream,
    AuthGatewayError,
    Client,
    ConfigurationError,
    Context,
    GatewayConnectionError,
    Model,
    PiNativeError,
    StreamOptions,
    StreamTimeoutError,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway, Garbage, HangUp, HTTPError, Stall

from ..conftest import wait_until
from .calls import KEY, start, workers
from .frames import FINISHED, HELLO, WHOLE, frame
from .peer import CHUNKED, LAST_CHUNK, OK, Connection, Peer, answers, chunk

# `KEY` is global, so that no local variable of a test holds it: tracebacks with locals are looked
# at too.


def head(request: bytes) -> dict[str, str]:
    """The headers of a request, by their names in small letters."""
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


@pytest.fixture(params=["client", "low-level", "session"])
def turn(
    request: pytest.FixtureRequest, session: requests.Session
) -> Iterator[Callable[[str], AssistantMessageEventStream]]:
    """Starts a turn at an address: through a client, the low-level call, or a session of ours."""
    if request.param == "low-level":
        yield start
        return
    if request.param == "session":
        yield lambda url: start(url, session=session)
        return
    clients: list[Client] = []

    def through_client(url: str) -> AssistantMessageEventStream:
        if not clients:
            clients.append(Client(url, KEY, max_retries=0))
        return clients[0].stream("x/y", "hi")

    yield through_client
    for client in clients:
        client.close()


# netrc.


@pytest.fixture
def netrc(tmp_path: Path) -> None:
    """The user has a netrc with a password for every host of these tests."""
    hosts = ("127.0.0.1", "localhost", "gateway.invalid")
    lines = [f"machine {host} login somebody password secret" for host in hosts]
    (tmp_path / ".netrc").write_text("\n".join([*lines, "default login any password secret", ""]))
    (tmp_path / ".netrc").chmod(0o600)


@pytest.mark.usefixtures("netrc")
def test_netrc_is_there_for_others(session: requests.Session) -> None:
    """Plain requests would use this netrc, so that the tests below test something."""
    with FakeGateway(None) as gateway:
        session.get(gateway.url + "/healthz")
        assert (gateway.requests[0].headers["authorization"] or "").startswith("Basic ")


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_the_bearer(
    turn: Callable[[str], AssistantMessageEventStream],
) -> None:
    """A password for the gateway's host in ~/.netrc is not what is sent."""
    with FakeGateway(KEY) as gateway:
        turn(gateway.url).result()
        sent = [request.headers.get_all("authorization") for request in gateway.requests]
    assert sent == [[f"Bearer {KEY}"]]


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_a_models_authorization() -> None:
    """A model's own Authorization is not replaced either."""
    with FakeGateway(None) as gateway:
        model = Model("y", "x", base_url=gateway.url, headers={"Authorization": "Own"})
        stream_pi_native(model, Context([UserMessage("hi")])).result()
        assert gateway.requests[0].headers.get_all("authorization") == ["Own"]


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_stand_in_for_a_missing_key() -> None:
    """Without a key nothing is sent, for turns and for the other pages."""
    with FakeGateway(None) as gateway, Client(gateway.url) as client:
        client.complete("x/y", "hi")
        client.models()
        stream_pi_native(
            Model("y", "x", base_url=gateway.url), Context([UserMessage("hi")])
        ).result()
        assert [request.headers["authorization"] for request in gateway.requests] == [None] * 3


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_the_bearer_of_the_other_pages() -> None:
    """Models, health, usage and credentials are asked for with the key too."""
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY) as client:
        client.models()
        client.usage()
        client.check_credentials()
        client.health()
        sent = {request.headers["authorization"] for request in gateway.requests}
    assert sent == {f"Bearer {KEY}"}


# Proxies.

PROXY_VARIABLES = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_loopback_gateway_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
    turn: Callable[[str], AssistantMessageEventStream],
    variable: str,
    host: str,
) -> None:
    """A proxy in the environment gets no byte of a turn for this machine."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        monkeypatch.setenv(variable, proxy.url)
        assert turn(gateway.url.replace("127.0.0.1", host)).result(5).text
        assert len(gateway.requests) == 1
        assert proxy.accepted == 0


def test_a_loopback_gateways_pages_are_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does a proxy get any of the other questions."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with Client(gateway.url, KEY) as client:
            assert client.health().ok
            assert client.models()
        assert proxy.accepted == 0


def test_a_sessions_own_proxy_is_not_used_for_loopback(session: requests.Session) -> None:
    """A proxy that is set on an injected session gets nothing for this machine either."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        session.proxies = {"http": proxy.url, "https": proxy.url}
        assert start(gateway.url, session=session).result(5).text
        assert proxy.accepted == 0


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
def test_another_gateway_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
    turn: Callable[[str], AssistantMessageEventStream],
    variable: str,
) -> None:
    """For any other host the proxy gets the request, in the form that proxies want."""
    requests_: list[bytes] = []

    def forward(connection: Connection) -> None:
        while True:
            requests_.append(connection.read_request())
            connection.send(WHOLE)

    with Peer(forward) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        for _ in range(2):
            assert turn("http://gateway.invalid:4000").result(5).text == "Hello"
        assert proxy.accepted == 1
    for request in requests_:
        assert request.startswith(b"POST http://gateway.invalid:4000/v1/pi/stream HTTP/1.1\r\n")
        assert head(request)["host"] == "gateway.invalid:4000"
        assert head(request)["authorization"] == f"Bearer {KEY}"


def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is not asked for at the proxy."""
    with Peer(lambda _: None) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "gateway.invalid")
        with pytest.raises(GatewayConnectionError):
            start("http://gateway.invalid").result(5)
        assert proxy.accepted == 0


def test_a_proxy_that_stalls_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for an http proxy's answer is cancelled like waiting for the gateway's."""
    asked = threading.Event()

    def stall(connection: Connection) -> None:
        connection.read_request()
        asked.set()

    with Peer(stall) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        stream = start("http://gateway.invalid")
        assert asked.wait(5)
        stream.abort()
        assert proxy.closed.wait(2)
    with pytest.raises(AbortError):
        stream.result(5)


TUNNELS = ["silent proxy", "silent gateway"]


@pytest.fixture(params=TUNNELS)
def tunnel(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Peer, threading.Event, list[bytes]]]:
    """An https proxy in the environment that does not answer CONNECT, or opens a silent tunnel."""
    stuck, came = threading.Event(), []

    def script(connection: Connection) -> None:
        came.append(connection.read_request())
        if request.param == "silent gateway":
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            came.append(connection.sock.recv(1))
        stuck.set()

    with Peer(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy, stuck, came


def test_a_tunnel_can_be_cancelled(tunnel: tuple[Peer, threading.Event, list[bytes]]) -> None:
    """Waiting for CONNECT, and for TLS behind it, is cancelled at once and closes the tunnel."""
    proxy, stuck, came = tunnel
    best = math.inf
    for _ in range(5):
        stuck.clear()
        stream = start("https://gateway.invalid")
        assert stuck.wait(5)
        began = time.monotonic()
        stream.abort("enough")
        with pytest.raises(AbortError):
            stream.result(5)
        best = min(best, time.monotonic() - began)
        assert proxy.closed.wait(2)
        assert wait_until(lambda: not workers())
    assert best < 0.05
    assert came[0].startswith(b"CONNECT gateway.invalid:443 HTTP/1.")


def test_a_tunnel_belongs_to_connecting(
    tunnel: tuple[Peer, threading.Event, list[bytes]],
) -> None:
    """CONNECT and TLS behind it are bounded by the connect timeout, and get no key."""
    proxy, _, came = tunnel
    with pytest.raises(StreamTimeoutError) as caught:
        start("https://gateway.invalid", connect_timeout_ms=250).result(5)
    assert (caught.value.phase, caught.value.limit) == ("connect", 0.25)
    assert proxy.closed.wait(2)
    assert KEY.encode() not in b"".join(came)


@pytest.mark.usefixtures("trusted")
def test_a_turn_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, authority: Any) -> None:
    """An https gateway behind a proxy is spoken to inside of the tunnel, where no proxy reads."""
    seen: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("gateway.invalid").configure_cert(context)

    def proxy_to(gateway: FakeGateway) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            seen.append(connection.read_request())
            with socket.create_connection(("127.0.0.1", gateway.port)) as upstream:
                connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(upstream, connection.sock, None))
                back.start()
                pump(connection.sock, upstream, seen)
                back.join(5)

        return script

    with FakeGateway(KEY, tls=context) as gateway, Peer(proxy_to(gateway)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Client("https://gateway.invalid", KEY) as client:
            assert client.complete("x/y", "hi").text
            assert client.complete("x/y", "hi").text
        assert proxy.accepted == 1
        sent = [request.headers["authorization"] for request in gateway.requests]
    assert sent == [f"Bearer {KEY}"] * 2
    assert seen[0].startswith(b"CONNECT gateway.invalid:443 HTTP/1.")
    assert KEY.encode() not in b"".join(seen)


def pump(source: socket.socket, sink: socket.socket, seen: list[bytes] | None) -> None:
    """Carry bytes until one side ends."""
    try:
        while data := source.recv(65536):
            if seen is not None:
                seen.append(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


# Cookies.


@pytest.mark.parametrize("kind", ["client", "low-level"])
def test_cookies_are_not_kept(kind: str) -> None:
    """What a gateway sets, on a success or an error, is not sent back."""
    cookies = {"Set-Cookie": "spy=1; Path=/"}
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, max_retries=0) as client:
        for path in ("/v1/pi/stream", "/v1/models"):
            gateway.add(HTTPError(500, headers=cookies), path=path)
        gateway.raw([frame(FINISHED)], headers=cookies)
        with pytest.raises(AuthGatewayError):
            client.models()
        for _ in range(3):
            stream = client.stream("x/y", "hi") if kind == "client" else start(gateway.url)
            with contextlib.suppress(AuthGatewayError):
                stream.result(5)
        client.models()
        assert [request.headers["cookie"] for request in gateway.requests] == [None] * 5


# Redirects.


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    turn: Callable[[str], AssistantMessageEventStream], status: int
) -> None:
    """A redirect is the gateway's error; no byte of the turn reaches the place it names."""
    with Peer(lambda _: None) as target, FakeGateway(KEY) as gateway:
        headers = {"Location": f"{target.url}/v1/pi/stream", "x-request-id": "r-1"}
        gateway.error(status, headers=headers, body=b"moved")
        with pytest.raises(AuthGatewayError) as caught:
            turn(gateway.url).result(5)
        assert type(caught.value) is AuthGatewayError
        assert (caught.value.status, caught.value.body) == (status, "moved")
        assert (caught.value.request_id, caught.value.retryable) == ("r-1", False)
        assert len(gateway.requests) == 1
        assert target.accepted == 0


def test_a_redirect_of_another_page_is_not_followed() -> None:
    """Nor is the key carried away from a question about models."""
    with Peer(lambda _: None) as target, FakeGateway(KEY) as gateway:
        gateway.add(HTTPError(302, headers={"Location": target.url}), path="/v1/models")
        with Client(gateway.url, KEY) as client, pytest.raises(AuthGatewayError):
            client.models()
        assert target.accepted == 0


def test_a_redirect_to_the_gateway_itself_is_not_followed() -> None:
    """Not even to the same host: the conversation is sent once."""
    with FakeGateway(KEY) as gateway:
        gateway.error(307, headers={"Location": "/v1/pi/stream"})
        with pytest.raises(AuthGatewayError):
            start(gateway.url).result(5)
        assert len(gateway.requests) == 1


def test_an_endless_redirect_is_not_read_to_its_end(
    turn: Callable[[str], AssistantMessageEventStream],
) -> None:
    """A redirect's body that never ends is let go of after a mebibyte or so."""
    poured = 0

    def pour(connection: Connection) -> None:
        nonlocal poured
        connection.read_request()
        connection.send(b"HTTP/1.1 302 Found\r\nLocation: http://gateway.invalid/\r\n\r\n")
        for _ in range(2_000):
            connection.send(b"x" * 100_000)
            poured += 100_000

    with Peer(pour) as peer:
        with pytest.raises(AuthGatewayError) as caught:
            turn(peer.url).result(20)
        assert peer.closed.wait(5)
    assert caught.value.status == 302
    assert poured < 50_000_000


# TLS.


def test_a_certificate_that_is_not_trusted_is_refused(
    turn: Callable[[str], AssistantMessageEventStream], server_tls: ssl.SSLContext
) -> None:
    """The turn fails with a clear error, and the gateway's stand-in gets no request."""
    with FakeGateway(KEY, tls=server_tls) as gateway:
        with pytest.raises(GatewayConnectionError, match="certificate verify failed") as caught:
            turn(f"https://localhost:{gateway.port}").result(5)
        assert caught.value.phase == "connect"
        assert f"https://localhost:{gateway.port}" in str(caught.value)
        assert gateway.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_name_is_refused(
    turn: Callable[[str], AssistantMessageEventStream], authority: Any
) -> None:
    """Trusting the authority is not enough: the name must be the gateway's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.invalid").configure_cert(context)
    with FakeGateway(KEY, tls=context) as gateway:
        with pytest.raises(GatewayConnectionError, match="certificate verify failed"):
            turn(f"https://localhost:{gateway.port}").result(5)
        assert gateway.requests == []


@pytest.mark.usefixtures("trusted")
def test_the_environments_authorities_are_trusted(
    turn: Callable[[str], AssistantMessageEventStream], server_tls: ssl.SSLContext
) -> None:
    """With REQUESTS_CA_BUNDLE the same gateway answers, and its connection is kept."""
    with FakeGateway(KEY, tls=server_tls) as gateway:
        for _ in range(2):
            assert turn(f"https://localhost:{gateway.port}").result(5).text
        assert gateway.connections == 1


def test_a_gateway_that_speaks_no_tls_is_a_connection_error() -> None:
    """https to a plain gateway is told as such, and the key is not sent in the clear."""
    came: list[bytes] = []

    def plain(connection: Connection) -> None:
        came.append(connection.sock.recv(65536))
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with Peer(plain) as peer:
        with pytest.raises(GatewayConnectionError, match="SSL") as caught:
            start(peer.url.replace("http:", "https:")).result(5)
        assert caught.value.phase == "connect"
        assert peer.closed.wait(2)
    assert KEY.encode() not in b"".join(came)


# The key shows itself nowhere.


def test_no_repr_shows_the_key() -> None:
    """Neither clients, options, models, streams nor what they are made of print it."""
    headers = {"Authorization": f"Bearer {KEY}", "x-secret": KEY}
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, headers=headers) as client:
        model = Model("y", "x", base_url=gateway.url, headers=headers)
        options = StreamOptions(api_key=KEY, headers={"x-secret": KEY})
        stream = client.stream(model, "hi", api_key=KEY)
        shown = [
            repr(thing)
            for thing in (client, model, options, stream, *stream, stream.response)
            for thing in (thing, str(thing))
        ]
        stream.result()
        assert len(gateway.requests) == 1
    assert shown
    assert [text for text in shown if KEY in text] == []


def test_a_clients_own_variables_do_not_show_the_key() -> None:
    """What a debugger or an error reporter prints of a client's attributes hides it."""
    with Client("http://127.0.0.1:1", KEY) as client:
        assert KEY not in repr(vars(client))


BAD_JSON = CHUNKED + chunk(frame("{nonsense")) + LAST_CHUNK


def hang_up(connection: Connection) -> None:
    """Reset the connection instead of answering."""
    connection.read_request()
    connection.reset()


says = functools.partial(answers, then=Connection.close)
PROVIDER_FAILED = {
    "type": "error",
    "reason": "error",
    "error": {**HELLO, "stopReason": "error", "errorMessage": "overloaded"},
}
FAILURES: dict[str, Callable[[Connection], object]] = {
    "401": says(b"HTTP/1.1 401 No\r\nContent-Length: 24\r\n\r\n" + b'{"error":"unauthorized"}'),
    "500": says(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    "redirect": says(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
    "empty": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "reset": hang_up,
    "reset at birth": Connection.reset,
    "closed": says(),
    "garbage": says(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "half a head": says(b"HTTP/1.1 200 OK\r\nConte"),
    "silence": answers(),
    "no event": says(CHUNKED),
    "cut": says(CHUNKED, chunk(frame({"type": "newer"})), b"ff\r\ndata"),
    "bad JSON": says(BAD_JSON),
    "a bad event": says(CHUNKED, chunk(frame({"type": "done"})), LAST_CHUNK),
    "incomplete": says(CHUNKED, chunk(frame({"type": "newer"})), LAST_CHUNK),
    "a page": says(OK.replace(b"event-stream", b"html") + b"\r\n<html>"),
    "a failed turn": says(CHUNKED, chunk(frame(PROVIDER_FAILED)), LAST_CHUNK),
}
"""Ways for a turn to fail, as scripts for a peer."""

SETUPS: dict[str, dict[str, Any]] = {
    "NaN": {"temperature": math.nan},
    "a set": {"metadata": {"a": {1}}},
    "a bad deadline": {"stream_idle_timeout_ms": "soon"},
    "on_response": {"on_response": lambda _: 1 / 0},
}
"""Ways for a turn to fail on this side."""


def fail(name: str, client: Client) -> BaseException:
    """The exception of a turn that fails in this way."""
    setup = {"total_timeout_ms": 300, **SETUPS.get(name, {})}
    try:
        client.complete("x/y", "hi", **setup)
    except Exception as exc:  # noqa: BLE001 - what hangs on it is what is looked at
        return exc
    raise AssertionError("the turn did not fail")


@pytest.fixture(params=["own", "session"])
def failing(
    request: pytest.FixtureRequest, session: requests.Session
) -> Callable[[str], BaseException]:
    """Makes a turn fail, through a client's own connections or an injected session."""
    given = session if request.param == "session" else None

    def make(name: str) -> BaseException:
        with (
            Peer(FAILURES.get(name, says(WHOLE))) as peer,
            Client(peer.url, KEY, max_retries=0, session=given) as client,
        ):
            return fail(name, client)

    return make


def chain(exc: BaseException | None, seen: dict[int, BaseException]) -> list[BaseException]:
    """An exception and all that hangs on it: causes, contexts, and what is in its attributes."""
    if exc is None or id(exc) in seen:
        return list(seen.values())
    seen[id(exc)] = exc
    for inner in (exc.__cause__, exc.__context__, *exc.args, *vars(exc).values()):
        if isinstance(inner, BaseException):
            chain(inner, seen)
    return list(seen.values())


def insides(value: object, depth: int = 6) -> Iterator[str]:
    """All the text within an object, however it hides behind a repr."""
    if isinstance(value, str):
        yield str.__str__(value)
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value).decode("latin-1")
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from insides(part, depth - 1)
    elif depth and hasattr(value, "items"):
        for name, part in value.items():
            yield from insides(name, depth - 1)
            yield from insides(part, depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, (type, threading.Thread)):
        yield from insides(vars(value), depth - 1)


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_shows_the_key(failing: Callable[[str], BaseException], name: str) -> None:
    """Nothing that printing, logging or reporting a failure writes has the key in it."""
    exc = failing(name)
    for each in chain(exc, {}):
        for text in (str(each), repr(each), repr(vars(each)), repr(each.args)):
            assert KEY not in text
    assert KEY not in "".join(traceback.format_exception(exc))


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_shows_the_key_with_its_locals(
    failing: Callable[[str], BaseException], name: str
) -> None:
    """A reporter that prints the local variables of every frame does not find it."""
    report = traceback.TracebackException.from_exception(failing(name), capture_locals=True)
    assert KEY not in "".join(report.format())


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_holds_the_key(failing: Callable[[str], BaseException], name: str) -> None:
    """Walking through causes, contexts and attributes, private ones too, does not find it."""
    for each in chain(failing(name), {}):
        held = [text for text in insides([vars(each), each.args]) if KEY in text]
        assert held == [], f"{type(each).__module__}.{type(each).__name__} holds it"


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_pickled_failure_holds_the_key(
    failing: Callable[[str], BaseException], name: str
) -> None:
    """A failure can be pickled, means the same on the other side, and the pickle has no key."""
    exc = failing(name)
    pickled = pickle.dumps(exc)
    assert KEY.encode() not in pickled
    copy = pickle.loads(pickled)
    assert type(copy) is type(exc)
    assert str(copy) == str(exc)
    mine, theirs = vars(exc), vars(copy)
    assert mine.keys() == theirs.keys()
    assert all(
        dict(v) == dict(theirs[k]) if k == "headers" else v == theirs[k] for k, v in mine.items()
    )


@pytest.mark.parametrize(
    ("key", "words"), [("bad\nkey", "api key"), ("b\u00e4d-\u20ac-key", "api key")]
)
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, words: str) -> None:
    """The error about a broken key does not quote it."""
    with Client("http://127.0.0.1:1", key) as client:
        exc = fail("", client)
    assert isinstance(exc, ConfigurationError)
    assert words in str(exc)
    for each in chain(exc, {}):
        assert key not in f"{each} {each!r} {vars(each)!r}"


@pytest.mark.parametrize("via", ["own", "session"])
def test_a_failure_while_sending_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, session: requests.Session, via: str
) -> None:
    """When the very write of the headers fails, in whose frames the key stands, none is shown."""
    sendall = socket.socket.sendall

    def broken(sock: socket.socket, data: Any, *flags: int) -> None:
        if bytes(data[:5]) == b"POST ":
            raise OSError(113, "No route to host")
        sendall(sock, data, *flags)

    monkeypatch.setattr(socket.socket, "sendall", broken, raising=False)
    given = session if via == "session" else None
    with Peer(answers()) as peer, Client(peer.url, KEY, max_retries=0, session=given) as client:
        exc = fail("", client)
    assert isinstance(exc, GatewayConnectionError)
    assert "No route to host" in str(exc)
    report = traceback.TracebackException.from_exception(exc, capture_locals=True)
    assert KEY not in "".join(report.format())
    for each in chain(exc, {}):
        assert KEY not in f"{each} {each!r} {vars(each)!r}"


@pytest.fixture(params=["refused", "unknown", "untrusted"])
def unreachable(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> Iterator[str]:
    """An address where nobody listens, one of no host, and one with a bad certificate."""
    if request.param == "refused":
        with Peer(lambda _: None) as gone:
            pass
        yield gone.url
    elif request.param == "unknown":
        yield "http://no-such.invalid"
    else:
        with FakeGateway(KEY, tls=server_tls) as gateway:
            yield f"https://localhost:{gateway.port}"


def test_an_unreachable_gateway_does_not_show_the_key(unreachable: str) -> None:
    """Neither a refused connection, nor an unknown name, nor bad TLS tells it."""
    with Client(unreachable, KEY, max_retries=0) as client:
        exc = fail("", client)
    assert isinstance(exc, GatewayConnectionError)
    report = traceback.TracebackException.from_exception(exc, capture_locals=True)
    assert KEY not in "".join(report.format())
    assert KEY.encode() not in pickle.dumps(exc)
    for each in chain(exc, {}):
        assert KEY not in f"{each} {each!r} {vars(each)!r}"


def test_an_unreachable_gateways_error_does_not_hold_the_key(unreachable: str) -> None:
    """Nothing that hangs on the error, private attributes too, has it."""
    with Client(unreachable, KEY, max_retries=0) as client:
        exc = fail("", client)
    for each in chain(exc, {}):
        assert [text for text in insides([vars(each), each.args]) if KEY in text] == []


def test_a_url_with_a_password_does_not_show_it() -> None:
    """Credentials within the base URL are left out of the errors about it."""
    with Peer(lambda _: None) as gone:
        url = gone.url.replace("http://", f"http://user:{KEY}@")
    with Client(url, max_retries=0) as client:
        exc = fail("", client)
    assert isinstance(exc, GatewayConnectionError)
    for each in chain(exc, {}):
        assert KEY not in f"{each} {each!r}"


@pytest.mark.parametrize("via", ["own", "session"])
def test_no_log_line_shows_the_key(
    caplog: pytest.LogCaptureFixture, session: requests.Session, via: str
) -> None:
    """With every logger at DEBUG, urllib3's too, good and bad turns alike write no key."""
    faults = [HangUp(after=3), HangUp(after=None), Garbage(after=2), Stall(after=2, seconds=0.01)]
    with caplog.at_level(logging.DEBUG), FakeGateway(KEY) as gateway:
        given = session if via == "session" else None
        with Client(gateway.url, KEY, max_retries=1, session=given) as client:
            for fault in faults:
                gateway.reply("one two", fault=fault)
            gateway.error(401).error(500, headers={"Retry-After": "0"})
            for _ in range(8):
                stream = client.stream(
                    "x/y", "hi", on_sse_event=lambda _: 1 / 0, total_timeout_ms=20_000
                )
                with contextlib.suppress(PiNativeError):
                    stream.result(30)
            stream = client.stream("x/y", "hi")
            stream.abort()
            client.models()
            assert wait_until(lambda: not workers())
    lines = [f"{r.getMessage()} {r.args!r} {r.exc_text or ''}" for r in caplog.records]
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    assert any(record.name == "pi_native" for record in caplog.records)
    assert [line for line in lines if KEY in line] == []
    assert KEY not in caplog.text
    # A record with a traceback keeps its frames, and these keep the pool of the session open.
    caplog.clear()


def test_a_pickled_client_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key stays behind, in whatever form it was given, unless it was asked to come along."""
    monkeypatch.setenv("PI_NATIVE_API_KEY", "theirs")
    headers = {"Authorization": f"Bearer {KEY}"}
    with FakeGateway("theirs") as gateway, Client(gateway.url, KEY, headers=headers) as client:
        pickled = pickle.dumps(client)
        assert KEY.encode() not in pickled
        with pickle.loads(pickled) as copy:
            assert isinstance(copy.complete("x/y", "hi"), AssistantMessage)
            assert repr(copy) == repr(client)
    with (
        FakeGateway(KEY) as gateway,
        Client(gateway.url, KEY, pickle_key=True) as client,
        pickle.loads(pickle.dumps(client)) as copy,
    ):
        assert isinstance(copy.complete("x/y", "hi"), AssistantMessage)
        assert KEY not in repr(vars(copy))
