"""Gateway calls return models, health, usage and credentials, or raise a clear error."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AbortSignal,
    AuthenticationError,
    AuthGatewayError,
    Client,
    CredentialsCheck,
    CredentialStatus,
    DecodeError,
    GatewayConnectionError,
    GatewayServerError,
    Health,
    InvalidRequestError,
    ModelInfo,
    PiNativeError,
    StreamProtocolError,
    StreamTimeoutError,
    UsageSnapshot,
)
from pi_native.testing import FakeGateway, HTTPError, Verbatim

from ...conftest import threads
from ..calls import KEY
from ..peer import CHUNKED, OK, Connection, FullBacklog, Peer, answers, chunk

LIMIT = 0.25  # seconds
LATE = 2.0  # seconds by which a timeout may be late on a busy machine
_never = threading.Event()


def json_page(body: bytes) -> Verbatim:
    """Return a 200 response with this JSON body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return Verbatim(head % len(body) + body, keep_alive=True)


PAGES: dict[str, tuple[Callable[[Client], object], str]] = {
    "models": (Client.models, "/v1/models"),
    "health": (Client.health, "/healthz"),
    "usage": (Client.usage, "/v1/usage"),
    "check_credentials": (Client.check_credentials, "/v1/credentials/check"),
}
each_page = pytest.mark.parametrize(("ask", "path"), PAGES.values(), ids=PAGES.keys())


def test_models_are_listed() -> None:
    """Each row is a `ModelInfo`, with None for each value that the gateway omits."""
    rows = [{"id": "a/b", "supports_tools": True, "newer": {"x": 1}}, "c/d/e"]
    with FakeGateway(KEY, models=rows) as gateway, Client(gateway.url, KEY) as client:
        first, second = client.models()
    assert isinstance(first, ModelInfo)
    assert (first.id, first.owned_by, first.display_name) == ("a/b", "a", "b")
    assert (first.supports_tools, first.context_length) == (True, 200_000)
    assert (first.input_modalities, first.extra) == (["text", "image"], {"newer": {"x": 1}})
    assert (second.id, second.supports_tools) == ("c/d/e", None)


def test_no_models_are_an_empty_list() -> None:
    """A gateway without models returns an empty list."""
    with FakeGateway(KEY, models=[]) as gateway, Client(gateway.url, KEY) as client:
        assert client.models() == []


def test_health_needs_no_key(gateway: FakeGateway) -> None:
    """State and version are returned without a key."""
    with Client(gateway.url) as client:
        health = client.health()
    assert isinstance(health, Health)
    assert (health.ok, health.version) == (True, "18.2.3")


def test_usage_is_returned(gateway: FakeGateway, client: Client) -> None:
    """The reports are returned unchanged, with their time."""
    before = time.time() * 1000
    usage = client.usage()
    assert isinstance(usage, UsageSnapshot)
    assert usage.reports == gateway.usage_reports
    assert before - 1 <= usage.generated_at <= time.time() * 1000


def test_credentials_are_checked(gateway: FakeGateway, client: Client) -> None:
    """Each is a `CredentialStatus`; an unknown state is None."""
    gateway.credentials.append({"id": 2, "provider": "p", "type": "api_key", "ok": None})
    gateway.credentials.append(
        {"id": "x", "provider": "p", "type": "t", "ok": False, "reason": "r"}
    )
    check = client.check_credentials()
    assert isinstance(check, CredentialsCheck)
    assert all(isinstance(each, CredentialStatus) for each in check.credentials)
    assert [(each.id, each.ok, each.reason) for each in check.credentials] == [
        (1, True, None),
        (2, None, None),
        ("x", False, "r"),
    ]


@each_page
def test_a_page_is_asked_for_with_a_get(
    gateway: FakeGateway, ask: Callable[[Client], object], path: str
) -> None:
    """The request is a GET without body, with key, attribution and the client's headers."""
    with Client(gateway.url + "//", KEY, headers={"X-Mine": "1"}, install_id="i-1") as client:
        ask(client)
    (request,) = gateway.requests
    assert (request.method, request.target, request.body) == ("GET", path, b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-omp-app"] == "pi-native-python"
    assert (request.headers["x-omp-install-id"], request.headers["x-mine"]) == ("i-1", "1")


@pytest.mark.parametrize("page", ["models", "usage", "check_credentials"])
def test_a_page_with_the_wrong_key(gateway: FakeGateway, page: str) -> None:
    """A 401 raises the same error as for a turn."""
    with Client(gateway.url, "wrong") as client, pytest.raises(AuthenticationError) as caught:
        PAGES[page][0](client)
    assert caught.value.status == 401
    assert caught.value.args[0] == 'auth-gateway 401: {"error":"unauthorized"}'
    assert "not this gateway's" in (caught.value.hint or "")


@each_page
@pytest.mark.parametrize(
    ("status", "kind"), [(404, InvalidRequestError), (503, GatewayServerError)]
)
def test_a_page_that_is_refused(
    gateway: FakeGateway,
    client: Client,
    ask: Callable[[Client], object],
    path: str,
    status: int,
    kind: type[AuthGatewayError],
) -> None:
    """Any other status raises an error with its message, code and request id."""
    headers = {"x-request-id": "r-1", "Retry-After": "3"}
    gateway.add(HTTPError(status, "because", type="t", headers=headers), path=path)
    with pytest.raises(kind, match="because") as caught:
        ask(client)
    assert (caught.value.code, caught.value.request_id) == ("t", "r-1")
    assert caught.value.retry_after == 3


NO_OBJECTS = [b"", b"<html>", b"{", b"null", b"7", b'"x"', b"[]", b'{"a":NaN}', b"[" * 100_000]


@each_page
@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: repr(body[:10]))
def test_a_page_that_is_no_object(
    gateway: FakeGateway,
    client: Client,
    ask: Callable[[Client], object],
    path: str,
    body: bytes,
) -> None:
    """A 200 whose body is no JSON object is a protocol error, which quotes it."""
    gateway.add(json_page(body), path=path)
    with pytest.raises(StreamProtocolError) as caught:
        ask(client)
    assert body[:5].decode() in str(caught.value)
    assert len(str(caught.value)) < 1000


MISFITS = {
    "models": [{"data": [7]}, {"data": [{"id": 7}]}, {"data": {"a": 1}}, {"data": "x"}],
    "health": [{"ok": 1}, {"version": 7}],
    "usage": [{"generatedAt": "now"}, {"reports": {}}, {"reports": [7]}],
    "check_credentials": [{"credentials": [{"ok": "yes"}]}, {"credentials": "none"}],
}


@pytest.mark.parametrize(
    ("page", "body"), [(page, body) for page, bodies in MISFITS.items() for body in bodies]
)
def test_a_page_that_does_not_fit(
    gateway: FakeGateway, client: Client, page: str, body: dict[str, Any]
) -> None:
    """An object of the wrong shape is a DecodeError that names the fault."""
    ask, path = PAGES[page]
    gateway.add(json_page(json.dumps(body).encode()), path=path)
    with pytest.raises(DecodeError) as caught:
        ask(client)
    assert caught.value.problems


def test_a_list_of_models_that_is_a_number(gateway: FakeGateway, client: Client) -> None:
    """A `data` value that is not iterable is a DecodeError too."""
    gateway.add(json_page(b'{"data": 7}'), path="/v1/models")
    with pytest.raises(DecodeError):
        client.models()


@each_page
def test_a_page_with_its_main_member_only(
    gateway: FakeGateway, client: Client, ask: Callable[[Client], object], path: str
) -> None:
    """Every other missing member is None."""
    page = b'{"data":[{}],"ok":true,"reports":[{}],"credentials":[{}]}'
    gateway.add(json_page(page), path=path)
    assert ask(client)


def dribble(connection: Connection) -> None:
    """Send a body that never ends, a few bytes at a time."""
    connection.read_request()
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    until = time.monotonic() + LIMIT + LATE + 1
    while time.monotonic() < until:
        connection.send(chunk(b" "))
        _never.wait(LIMIT / 5)


@pytest.mark.parametrize(
    ("script", "phase"),
    [(answers(), "headers"), (dribble, "first_event")],
    ids=["silent", "dribble"],
)
@each_page
def test_a_page_that_stalls(
    ask: Callable[[Client], object],
    path: str,  # noqa: ARG001 - names the page
    script: Callable[[Connection], object],
    phase: str,
) -> None:
    """The first-event timeout limits headers and body, and the connection is closed."""
    with Peer(script) as peer, Client(peer.url, KEY, first_event_timeout=LIMIT) as client:
        began = time.monotonic()
        with pytest.raises(StreamTimeoutError) as caught:
            ask(client)
        assert LIMIT * 0.95 < time.monotonic() - began < LIMIT + LATE
        assert (caught.value.phase, caught.value.limit) == (phase, LIMIT)
        assert peer.closed.wait(2)


def test_a_page_that_stalls_while_the_timer_thread_is_late() -> None:
    """If the timer thread is late, a stall in the body is still a timeout error."""
    hold = AbortSignal.timeout(LIMIT / 2)
    hold.add_listener(lambda: _never.wait(LIMIT))  # it runs in the timer thread
    half = answers(OK, b'Content-Length: 100\r\n\r\n{"ok"')
    with Peer(half) as peer, Client(peer.url, KEY, first_event_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("first_event", LIMIT)


def test_a_page_is_bounded_as_a_whole() -> None:
    """The total timeout ends a gateway call too, in every phase."""
    with Peer(dribble) as peer, Client(peer.url, KEY, total_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("total", LIMIT)
        assert peer.closed.wait(2)


def test_a_page_that_cannot_be_reached_in_time() -> None:
    """The connect timeout limits the connect."""
    with FullBacklog() as backlog, Client(backlog.url, KEY, connect_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("connect", LIMIT)


def test_a_page_of_a_gateway_that_is_down() -> None:
    """A closed port is a connection error that names the address."""
    with Peer(lambda _: None) as gone:
        pass
    with Client(gone.url, KEY) as client, pytest.raises(GatewayConnectionError, match=gone.url):
        client.health()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0\r\n\r\n",
        OK + b"Content-Length: 100\r\n\r\n{}",
        CHUNKED + b"ff\r\n{}",
    ],
)
def test_a_page_that_is_cut_short(answer: bytes) -> None:
    """A truncated response is a connection error, never a short result."""
    with (
        Peer(answers(answer, then=Connection.close)) as peer,
        Client(peer.url, KEY) as client,
        pytest.raises(GatewayConnectionError),
    ):
        client.health()


@pytest.mark.parametrize("status", [b"200 OK", b"500 Oops", b"302 Found"])
def test_a_page_without_end(status: bytes) -> None:
    """A body without end is abandoned at a size limit, and the connection is closed."""
    poured = 0

    def pour(connection: Connection) -> None:
        nonlocal poured
        connection.read_request()
        connection.send(b"HTTP/1.1 %s\r\nLocation: /x\r\n\r\n" % status)
        for _ in range(400):
            connection.send(b" " * 1_000_000)
            poured += 1_000_000

    with Peer(pour) as peer, Client(peer.url, KEY) as client:
        with pytest.raises(PiNativeError) as caught:
            client.health()
        assert peer.closed.wait(5)
    assert isinstance(
        caught.value, StreamProtocolError if status == b"200 OK" else AuthGatewayError
    )
    assert len(str(caught.value)) < 10_000
    assert poured < (200_000_000 if status == b"200 OK" else 50_000_000)


@each_page
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>Log in</html>",
        b'{"error":"unauthorized"}',
        b'{"error":{"type":"x","message":"no"}}',
        b'{"object":"list","generatedAt":1,"status":"ok"}',
        b'{"data":null,"ok":null,"reports":null,"credentials":null}',
        b'{"data":{},"ok":1,"reports":{},"credentials":{}}',
    ],
)
def test_another_page_is_no_empty_success(
    gateway: FakeGateway,
    client: Client,
    ask: Callable[[Client], object],
    path: str,
    body: bytes,
) -> None:
    """A 200 without the page's main member raises, quotes the page, and says what to check."""
    gateway.add(json_page(body), path=path)
    with pytest.raises(StreamProtocolError) as caught:
        ask(client)
    assert "base URL" in (caught.value.hint or "")
    assert body.decode()[:8] in str(caught.value)


def test_a_gateway_is_not_ready_while_another_server_answers(
    gateway: FakeGateway, client: Client
) -> None:
    """`wait_until_ready` does not take the health page of another server for the gateway's."""
    gateway.add(json_page(b'{"status":"ok"}'), path="/healthz")
    with pytest.raises(DecodeError):
        client.wait_until_ready(5)


def test_a_page_starts_no_thread(gateway: FakeGateway, client: Client) -> None:
    """The call runs in the caller's own thread."""
    seen: list[set[str]] = []
    gateway.add(
        lambda _: seen.append({t.name for t in threads()}) or json_page(b'{"data":[]}'),
        path="/v1/models",
    )
    client.models()
    assert not [name for name in seen[0] if name.startswith("pi-native-")]


def test_a_page_may_end_with_its_connection(client: Client, gateway: FakeGateway) -> None:
    """A response that ends with its connection is complete."""
    page = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b'{"ok":true,"version":"9"}'
    )
    gateway.add(Verbatim(page), path="/healthz")
    assert client.health().version == "9"
    assert client.health().version == "18.2.3"
