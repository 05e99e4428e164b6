"""One exchange without a socket: what requests gets, and how its response is read."""

from __future__ import annotations

import datetime
import gzip
import http.client
import io
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter

from pi_native._http import transport as _http
from pi_native._http.connection import SocketHandle
from pi_native._http.gateway_response import GatewayResponse
from pi_native._http.sending import DeadConnectionError
from pi_native._http.transport import Transport, is_loopback, shared_transport
from pi_native._protocol.request import Request
from pi_native.errors import (
    ConfigurationError,
    GatewayConnectionError,
    PiNativeError,
    StreamProtocolError,
    StreamTimeoutError,
)

KEY = "key-of-the-gateway"
URL = "http://gateway.invalid:4000/v1/models"
BEARER = {"Authorization": f"Bearer {KEY}"}


def response(
    status: int = 200, headers: dict[str, str] | None = None, raw: Any = b""
) -> requests.Response:
    """Return a response as an adapter makes one; bytes become a file."""
    made = requests.Response()
    made.status_code = status
    made.headers.update(headers or {})
    made.raw = io.BytesIO(raw) if isinstance(raw, bytes) else raw
    return made


class Adapter(BaseAdapter):
    """Takes each request that would be sent, and answers with the next of what it was given."""

    def __init__(self, *answers: requests.Response | BaseException) -> None:
        super().__init__()
        self.answers = list(answers)
        self.sent: list[requests.PreparedRequest] = []
        self.settings: list[dict[str, Any]] = []
        self.closed = 0

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        """GatewayResponse, or raise."""
        self.sent.append(request)
        self.settings.append(settings)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        answer.request, answer.url = request, str(request.url)
        return answer

    def close(self) -> None:
        """Count."""
        self.closed += 1


def session_of(adapter: Adapter) -> requests.Session:
    """Return a session whose requests all go to the adapter."""
    session = requests.Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def send(
    *answers: requests.Response | BaseException,
    url: str = URL,
    headers: dict[str, str] | None = None,
    handle: SocketHandle | None = None,
    **timeouts: float | None,
) -> GatewayResponse:
    """Send a request through a session that gives these answers."""
    transport = Transport(session_of(Adapter(*answers)))
    made = Request("GET", url, BEARER if headers is None else headers)
    return transport.send(made, handle or SocketHandle(), **timeouts)


def failure_of(
    *answers: requests.Response | BaseException, kind: type[PiNativeError], **arguments: Any
) -> Any:
    """Return the error of sending."""
    with pytest.raises(kind) as caught:
        send(*answers, **arguments)
    assert type(caught.value) is kind
    return caught.value


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would connect."""

    def refuse(*_: object, **__: object) -> Callable[..., object]:
        raise AssertionError("a unit test opens no socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# Where a URL leads


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4000",
        "http://LOCALHOST",
        "http://localhost.:4000/",
        "https://a.b.localhost/x",
        "http://127.0.0.1:4000",
        "http://127.255.255.254",
        "http://user:password@127.0.0.1:1/",
        "http://[::1]:4000",
        "http://[0:0:0:0:0:0:0:1]",
        "http://0.0.0.0",
        "http://[::]",
    ],
)
def test_this_machine_is_loopback(url: str) -> None:
    """The names and addresses of the machine itself are recognised."""
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "127.0.0.1:4000",
        "http://",
        "http://gateway.invalid",
        "http://localhost.gateway.invalid",
        "http://notlocalhost",
        "http://127.0.0.1.gateway.invalid",
        "http://127.0.0.1@gateway.invalid",
        "http://gateway.invalid/127.0.0.1",
        "http://gateway.invalid#@localhost",
        "http://10.0.0.1",
        "http://192.168.0.1",
        "http://128.0.0.1",
        "http://127.1",
        "http://0177.0.0.1",
        "http://[::2]",
        "http://[::1",
        "http://[x]",
    ],
)
def test_other_machines_are_not_loopback(url: str) -> None:
    """A host that is another machine, or might be one, is not taken for this one."""
    assert not is_loopback(url)


# The head of an answer


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({}, None),
        ({"X-Request-Id": "a"}, "a"),
        ({"Request-Id": "b"}, "b"),
        ({"request-id": "b", "x-request-id": "a"}, "a"),
        ({"request-id": "b", "x-request-id": ""}, "b"),
    ],
)
def test_the_head_of_an_answer(headers: dict[str, str], request_id: str | None) -> None:
    """A response has status, headers, and the request id from either header."""
    answer = GatewayResponse(response(418, headers))
    assert (answer.info.status, answer.info.request_id) == (418, request_id)
    assert answer.info.headers == {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize(("reason", "expected"), [("I'm a teapot", "I'm a teapot"), (None, "")])
def test_an_answers_reason(reason: str | None, expected: str) -> None:
    """The reason is a text, also where there is none."""
    made = response(418)
    made.reason = reason  # type: ignore[assignment]
    assert GatewayResponse(made).reason == expected


@pytest.mark.parametrize(
    ("status", "length", "has_no_body"),
    [
        (200, None, False),
        (200, "1", False),
        (200, "00", False),
        (200, "0", True),
        (200, " 0 ", True),
        (204, None, True),
        (204, "5", True),
        (205, None, True),
        (206, None, False),
    ],
)
def test_an_answer_may_have_no_body(status: int, length: str | None, has_no_body: bool) -> None:
    """204, 205 and a length of nothing say that nothing follows."""
    answer = GatewayResponse(response(status, {} if length is None else {"Content-Length": length}))
    assert answer.has_no_body is has_no_body


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 -0000", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", 1.5),
        ("5, 5", 5.0),
        ("5, 60", 60.0),
        ("5, soon", 5.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT, 7", 7.0),
        ("1e3", None),
        ("²", None),
        ("Thu, 32 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 10000 23:59:59 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Whole seconds and dates are understood; a date in the past is no wait, and the rest none."""
    assert GatewayResponse(response(429, {"Retry-After": value})).retry_after() == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000", ""])
def test_retry_after_a_date_to_come(zone: str) -> None:
    """A date is a wait from now on, in UTC if it does not say otherwise."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    value = f"{when:%a, %d %b %Y %H:%M:%S} {zone}".strip()
    wait = GatewayResponse(response(429, {"Retry-After": value})).retry_after()
    assert wait is not None
    assert 3500 < wait <= 3600


def test_no_retry_after() -> None:
    """An answer that does not ask for a wait has none."""
    assert GatewayResponse(response(429)).retry_after() is None


# The body of an answer


class Whole:
    """A body that can only be read, as a mock's may be."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self.pieces = list(pieces)
        self.closed = False

    def read(self, _: int) -> bytes:
        """Return the next piece."""
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        """Note it."""
        self.closed = True


class InPieces(Whole):
    """A body of which one read may bring a part."""

    def read1(self, amount: int) -> bytes:
        """Return the next piece."""
        return self.read(amount)


@pytest.mark.parametrize("kind", [Whole, InPieces])
def test_a_body_comes_in_pieces(kind: type[Whole]) -> None:
    """Each read is handed on as it is, until there is no more."""
    body = kind(b"a", b"bc", b"d")
    assert list(GatewayResponse(response(raw=body)).chunks()) == [b"a", b"bc", b"d"]


def test_a_body_may_be_any_file() -> None:
    """A mock's file is read to its end."""
    assert b"".join(GatewayResponse(response(raw=b"x" * 2_000_000)).chunks()) == b"x" * 2_000_000


@pytest.mark.parametrize("encoded", [False, True])
def test_a_compressed_body_is_unpacked(encoded: bool) -> None:
    """A body is decompressed when its headers say that it is compressed, and only then."""
    packed = gzip.compress(b"data: {}\n\n")
    raw = urllib3.HTTPResponse(
        io.BytesIO(packed),
        headers={"Content-Encoding": "gzip"} if encoded else {},
        preload_content=False,
    )
    assert b"".join(GatewayResponse(response(raw=raw)).chunks()) == (
        b"data: {}\n\n" if encoded else packed
    )


def test_a_body_that_cannot_be_unpacked() -> None:
    """Bytes that are not what the headers say are no answer of the protocol."""
    raw = urllib3.HTTPResponse(
        io.BytesIO(b"no gzip"), headers={"Content-Encoding": "gzip"}, preload_content=False
    )
    with pytest.raises(StreamProtocolError, match="the body cannot be decompressed"):
        list(GatewayResponse(response(raw=raw)).chunks())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(104, "reset"), "the response was cut short: [Errno 104] reset"),
        (urllib3.exceptions.ProtocolError("broken", EOFError("early")), "cut short: early"),
        (urllib3.exceptions.ProtocolError("broken"), "the response was cut short: broken"),
        (urllib3.exceptions.IncompleteRead(3, 5), "(3 bytes read, 5 more expected)"),
        (http.client.IncompleteRead(b""), "the response was cut short: the connection was closed"),
        (AttributeError("'NoneType' object has no attribute 'readline'"), "cut short: 'NoneType'"),
        (ValueError(), "the response was cut short: ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_body_that_breaks_off(error: Exception, words: str) -> None:
    """Whatever reading raises is a connection that broke, behind what had come before."""
    chunks = GatewayResponse(response(raw=InPieces(b"a", error))).chunks()
    assert next(chunks) == b"a"
    with pytest.raises(GatewayConnectionError) as caught:
        next(chunks)
    assert words in str(caught.value)
    assert caught.value.phase == "body"


def test_a_body_that_takes_too_long() -> None:
    """The timeout of a session's own socket is one of ours."""
    pool: Any = None
    late = urllib3.exceptions.ReadTimeoutError(pool, "/", "late")
    with pytest.raises(StreamTimeoutError) as caught:
        list(GatewayResponse(response(raw=InPieces(late))).chunks())
    assert caught.value.phase == "idle"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
def test_an_interrupt_is_no_connection_error(error: BaseException) -> None:
    """An interrupt is raised as it is."""
    with pytest.raises(type(error)) as caught:
        list(GatewayResponse(response(raw=InPieces(error))).chunks())
    assert caught.value is error


# The connection below an answer


def test_a_mock_has_no_descriptor() -> None:
    """A body without a socket has none to cut, and no connection to give back."""
    answer = GatewayResponse(response(raw=InPieces(b"a")))
    assert answer.descriptor() is None
    assert not answer.has_connection


def test_a_descriptor_is_the_bodys_own(tmp_path: Any) -> None:
    """A body that has a descriptor tells it."""
    with open(tmp_path / "body", "w+b") as file:
        assert GatewayResponse(response(raw=file)).descriptor() == file.fileno()


@pytest.mark.parametrize("error", [OSError(), urllib3.exceptions.ProtocolError()], ids=repr)
def test_closing_is_quiet(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks while it is closed is no failure of the turn."""
    closed = []

    def close() -> None:
        closed.append(True)
        raise error

    made = response(raw=InPieces())
    monkeypatch.setattr(made, "close", close)
    GatewayResponse(made).close()
    assert closed == [True]


def test_closing_closes_the_body() -> None:
    """A body that was not read to its end is closed."""
    body = InPieces(b"a")
    GatewayResponse(response(raw=body)).close()
    assert body.closed


# What is sent


def test_a_request_is_sent_as_it_is() -> None:
    """Method, address, headers and body are handed to the adapter, with the timeouts."""
    adapter = Adapter(response())
    made = Request("POST", URL, {**BEARER, "x-a": "b"}, b"{}")
    answer = Transport(session_of(adapter)).send(
        made, SocketHandle(), connect_timeout=1.5, read_timeout=None
    )
    [sent], [settings] = adapter.sent, adapter.settings
    assert (sent.method, sent.url, sent.body) == ("POST", URL, b"{}")
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-a"] == "b"
    assert (settings["timeout"], settings["stream"]) == ((1.5, None), True)
    assert answer.sent_headers() == dict(sent.headers)


def test_an_answer_without_a_request() -> None:
    """A stand-in's answer without a request has no headers that were sent."""
    made = response()
    made.request = None  # type: ignore[assignment]
    assert GatewayResponse(made).sent_headers() == {}


def test_a_sessions_own_auth_does_not_replace_the_key() -> None:
    """The session's auth is for requests that bring no Authorization."""
    adapter = Adapter(response(), response())
    session = session_of(adapter)
    session.auth = ("user", "password")
    transport = Transport(session)
    transport.send(Request("GET", URL, {"authorization": f"Bearer {KEY}"}), SocketHandle())
    transport.send(Request("GET", URL, {}), SocketHandle())
    first, second = (sent.headers["Authorization"] for sent in adapter.sent)
    assert first == f"Bearer {KEY}"
    assert second.startswith("Basic ")


@pytest.mark.parametrize(
    ("url", "proxied"),
    [(URL, True), ("http://127.0.0.1:4000/v1/models", False), ("http://[::1]:4000/", False)],
)
def test_a_proxy_is_for_other_machines(
    url: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxy is used, but never for this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    adapter = Adapter(response())
    Transport(session_of(adapter)).send(Request("GET", url, BEARER), SocketHandle())
    [settings] = adapter.settings
    assert bool(settings["proxies"].get("http")) is proxied


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer(status: int) -> None:
    """It is not followed, and its body, however long, is not read."""
    body = InPieces(b"a", AssertionError("read on"))
    adapter = Adapter(response(status, {"Location": "http://other.invalid/"}, body))
    answer = Transport(session_of(adapter)).send(Request("GET", URL, BEARER), SocketHandle())
    assert answer.info.status == status
    assert len(adapter.sent) == 1
    assert len(body.pieces) == 2


def test_a_sessions_hooks_see_the_answer() -> None:
    """The hooks of the caller's session are still called."""
    seen: list[int] = []
    session = session_of(Adapter(response(201)))
    session.hooks["response"] = [lambda answer, **_: seen.append(answer.status_code)]
    Transport(session).send(Request("GET", URL, BEARER), SocketHandle())
    assert seen == [201]


# What goes wrong


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "refused"),
        requests.ConnectionError(ConnectionRefusedError(111, "refused")),
        requests.ConnectionError(
            urllib3.exceptions.MaxRetryError(
                None,  # type: ignore[arg-type]
                "/",
                urllib3.exceptions.ProtocolError("x", ConnectionRefusedError(111, "refused")),
            )
        ),
    ],
    ids=["bare", "wrapped", "wrapped thrice"],
)
def test_a_road_that_is_closed(error: Exception) -> None:
    """The error says where to and what the system said, and has that as its cause."""
    failure = failure_of(error, kind=GatewayConnectionError)
    expected = "cannot reach http://gateway.invalid:4000: [Errno 111] refused; is a gateway running"
    assert str(failure).startswith(expected)
    assert failure.phase == "connect"
    assert type(failure.__cause__) is ConnectionRefusedError
    assert failure.__cause__.__traceback__ is None


def test_a_connection_that_closes_after_the_request() -> None:
    """Once the connection is open, the error is a missing response."""
    handle = SocketHandle()
    handle.stage = None  # as a connection that has taken the request leaves it
    with pytest.raises(GatewayConnectionError) as caught:
        resend(Adapter(ConnectionResetError(104, "reset")), handle)
    failure = caught.value
    assert str(failure).startswith("no response from http://gateway.invalid:4000: ")
    assert failure.phase == "headers"


def test_whatever_an_adapter_raises_is_ours() -> None:
    """Even an error of the adapter's own making comes out as a connection that failed."""
    failure = failure_of(KeyError("x"), kind=GatewayConnectionError)
    assert isinstance(failure.__cause__, KeyError)


def test_an_error_that_is_its_own_cause() -> None:
    """Errors in a circle have an end here."""
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert "second" in str(failure_of(first, kind=GatewayConnectionError))


def test_a_failure_does_not_hold_the_request() -> None:
    """From the failure no way leads to the prepared request, which has the key."""
    cause = ConnectionRefusedError(111, "refused")
    cause.__context__ = ValueError(f"while sending {KEY}")
    failure = failure_of(requests.ConnectionError(cause), kind=GatewayConnectionError)
    assert failure.__context__ is None
    assert failure.__cause__ is cause
    assert cause.__context__ is None
    shown = "".join(traceback.format_exception(failure))
    assert KEY not in shown


@pytest.mark.parametrize(
    "url", ["gateway.invalid", "ftp://gateway.invalid", "http://", "http://[x", "http://a:b:c/"]
)
def test_an_address_that_leads_nowhere(url: str) -> None:
    """It is the caller's to correct, and nothing is sent."""
    session = requests.Session()
    with pytest.raises(ConfigurationError, match="cannot send to"):
        Transport(session).send(Request("GET", url, BEARER), SocketHandle())


@pytest.mark.parametrize("url", ["gateway.invalid:4000", "gateway.invalid", "ftp://x/"])
def test_an_address_says_how_it_is_reached(url: str) -> None:
    """Without http or https, that is what is missing, in words of ours."""
    with pytest.raises(ConfigurationError, match='URL begins with "http://" or "https://"'):
        Transport(requests.Session()).send(Request("GET", url, BEARER), SocketHandle())


def test_a_password_in_an_address_is_not_shown() -> None:
    """The refusal names the host, and neither user nor password."""
    url = "http://user:hush@gateway.invalid:99999/"
    with pytest.raises(PiNativeError) as caught:
        Transport(requests.Session()).send(Request("GET", url, BEARER), SocketHandle())
    assert "gateway.invalid" in str(caught.value)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_an_answer_with_a_bad_header_is_no_fault_of_the_callers() -> None:
    """A bad header of the response is reported as a response that did not come."""
    error = requests.exceptions.InvalidHeader(urllib3.exceptions.InvalidHeader("two lengths"))
    failure = failure_of(error, kind=GatewayConnectionError)
    assert str(failure) == "no response from http://gateway.invalid:4000: two lengths"
    assert failure.phase == "headers"


@pytest.mark.parametrize(
    ("error", "timeouts", "phase", "limit"),
    [
        (requests.ConnectTimeout(), (2.0, 5.0), "connect", 2.0),
        (requests.ConnectTimeout(), (None, 5.0), "connect", None),
        (requests.ReadTimeout(), (None, 5.0), "headers", 5.0),
        (requests.ReadTimeout(), (2.0, 5.0), "headers", 5.0),
        # A handshake's end: after the one, long before the other.
        (requests.ReadTimeout(), (0.0, 5.0), "connect", 0.0),
        (requests.ReadTimeout(), (2.0, None), "connect", 2.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_sessions_own_timeout(
    error: Exception,
    timeouts: tuple[float | None, float | None],
    phase: str,
    limit: float | None,
) -> None:
    """The error names the wait that was too long, and its limit."""
    failure = failure_of(
        error, kind=StreamTimeoutError, connect_timeout=timeouts[0], read_timeout=timeouts[1]
    )
    assert (failure.phase, failure.limit) == (phase, limit)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_interrupt_while_sending_goes_through(error: BaseException) -> None:
    """An interrupt while sending is raised as it is."""
    with pytest.raises(type(error)) as caught:
        send(error)
    assert caught.value is error


# A kept connection that is dead


class Steps:
    """Counts the steps of a request."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def connecting(self) -> None:
        """Note it."""
        self.seen.append("connecting")

    def connected(self) -> None:
        """Note it."""
        self.seen.append("connected")

    def resending(self) -> None:
        """Note it."""
        self.seen.append("resending")


def resend(
    adapter: Adapter, handle: SocketHandle | None = None, steps: Steps | None = None
) -> GatewayResponse:
    """Send a request through the adapter."""
    transport = Transport(session_of(adapter))
    return transport.send(
        Request("GET", URL, BEARER), handle or SocketHandle(), progress=steps or Steps()
    )


RESET = ConnectionResetError(104, "reset")
DEAD = DeadConnectionError(104, "a kept connection was closed")


def test_a_dead_connection_is_replaced() -> None:
    """A request on a dead connection is sent again until it has a new one; each time is counted."""
    adapter = Adapter(DEAD, DEAD, response(201))
    steps = Steps()
    assert resend(adapter, steps=steps).info.status == 201
    assert len(adapter.sent) == 3
    assert steps.seen.count("resending") == 2


@pytest.mark.parametrize(
    ("error", "cut"),
    [(RESET, False), (DEAD, True), (OSError(5, "something else"), False)],
    ids=["new", "cancelled", "other"],
)
def test_other_failures_are_not_sent_again(error: Exception, cut: bool) -> None:
    """The failure of a new connection, a cancelled one, and any other failure is raised."""
    handle = SocketHandle()
    if cut:
        handle.cut()
    adapter = Adapter(error, response(201))
    with pytest.raises(GatewayConnectionError):
        resend(adapter, handle)
    assert len(adapter.sent) == 1


# Whose session it is


def test_a_given_session_stays_the_callers() -> None:
    """It is used, has no seam, and is not closed with the transport."""
    adapter = Adapter(response())
    transport = Transport(session_of(adapter))
    assert not transport.owns_sockets
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    transport.close()
    assert (len(adapter.sent), adapter.closed) == (1, 0)


def sent(adapters: list[Adapter]) -> int:
    """Return the number of requests that were sent."""
    return sum(len(adapter.sent) for adapter in adapters)


@pytest.fixture
def own_adapters(monkeypatch: pytest.MonkeyPatch) -> list[Adapter]:
    """Has transports' own sessions send through adapters that are listed here."""
    adapters: list[Adapter] = []

    def make(**_: object) -> Adapter:
        adapters.append(Adapter(response(), response(), response()))
        return adapters[-1]

    monkeypatch.setattr(_http, "CancellableAdapter", make)
    return adapters


def test_an_own_session_is_made_on_first_use_and_kept(own_adapters: list[Adapter]) -> None:
    """No session is made before it is needed, and the second request uses the same one."""
    transport = Transport()
    assert transport.owns_sockets
    assert own_adapters == []
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    made = len(own_adapters)
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    assert len(own_adapters) == made == 2  # for http and for https
    assert sent(own_adapters) == 2


def test_an_own_session_is_closed_and_made_again(own_adapters: list[Adapter]) -> None:
    """Closing closes what there is, may be done again, and does not end the transport."""
    transport = Transport()
    transport.close()
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    transport.close()
    transport.close()
    assert [adapter.closed for adapter in own_adapters] == [1, 1]
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    assert len(own_adapters) == 4


def test_a_forked_child_has_its_own_session(
    own_adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process neither uses nor closes the connections that it inherited."""
    transport = Transport()
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    parent = own_adapters[:]
    process = os.getpid()
    with monkeypatch.context() as child:
        child.setattr(_http.os, "getpid", lambda: process + 1)
        transport.close()
        assert [adapter.closed for adapter in parent] == [0, 0]
        transport.send(Request("GET", URL, BEARER), SocketHandle())
        assert (sent(parent), sent(own_adapters)) == (1, 2)
    transport.close()
    assert [adapter.closed for adapter in own_adapters] == [1, 1, 0, 0]


def test_an_own_session_keeps_nothing(own_adapters: list[Adapter]) -> None:
    """It has no cookies, whatever was answered, and names the package as its user agent."""
    transport = Transport()
    transport.send(Request("GET", URL, BEARER), SocketHandle())
    [session] = transport._own.values()
    policy = session.cookies.get_policy()
    assert policy.is_not_allowed("gateway.invalid")
    agents = {s.headers["User-Agent"] for adapter in own_adapters for s in adapter.sent}
    assert agents == {"pi-native-python"}


def test_there_is_one_shared_transport() -> None:
    """Low-level calls without a session share one pool of connections."""
    assert shared_transport() is shared_transport()
    assert shared_transport().owns_sockets


# Observers


class Observer:
    """Notes what it receives."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def failed(self, error: Exception) -> None:
        """Note it."""
        self.seen.append(error)

    def answered(self, response: GatewayResponse) -> None:
        """Note it."""
        self.seen.append(response.info.status)

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Note each chunk, and yield it."""
        for chunk in chunks:
            self.seen.append(chunk)
            yield chunk

    def closed(self) -> None:
        """Note it."""
        self.seen.append("closed")


def observed(adapter: Adapter, observer: Observer | None) -> tuple[Transport, list[str]]:
    """Return a transport with this observer, and the list of the URLs that it was asked for."""
    urls: list[str] = []

    def observe(request: Request, _: SocketHandle) -> Observer | None:
        urls.append(request.url)
        return observer

    return Transport(session_of(adapter), observe=observe), urls


def test_an_observer_receives_the_whole_exchange() -> None:
    """It receives the head, each chunk and the end."""
    observer = Observer()
    transport, urls = observed(Adapter(response(201, raw=InPieces(b"a", b"b"))), observer)
    answer = transport.send(Request("GET", URL, BEARER), SocketHandle())
    assert list(answer.chunks()) == [b"a", b"b"]
    answer.close()
    assert urls == [URL]
    assert observer.seen == [201, b"a", b"b", "closed"]


def test_an_observer_receives_the_failure() -> None:
    """It receives the same error that the call raises."""
    observer = Observer()
    transport, _ = observed(Adapter(OSError("no")), observer)
    with pytest.raises(GatewayConnectionError) as caught:
        transport.send(Request("GET", URL, BEARER), SocketHandle())
    assert observer.seen == [caught.value]


def test_an_exchange_may_have_no_observer() -> None:
    """Without an observer the exchange takes its usual course."""
    transport, urls = observed(Adapter(response(raw=b"ab")), None)
    answer = transport.send(Request("GET", URL, BEARER), SocketHandle())
    assert (b"".join(answer.chunks()), answer.observer, urls) == (b"ab", None, [URL])
    answer.close()
