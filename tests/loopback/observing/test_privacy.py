"""The key is visible in no representation.

It is absent from reprs, the log, exceptions with all objects that they refer to, tracebacks with
local variables, and pickles. `KEY` is global, so that no local variable of a test has it.
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
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from pi_native import (
    AssistantMessage,
    Client,
    ConfigurationError,
    GatewayConnectionError,
    Model,
    PiNativeError,
    StreamOptions,
)
from pi_native.testing import FakeGateway, Garbage, HangUp, Stall

from ...conftest import wait_until
from ..calls import KEY, workers
from ..frames import HELLO, WHOLE, frame
from ..peer import CHUNKED, LAST_CHUNK, OK, Connection, Peer, answers, chunk


def test_no_repr_shows_the_key() -> None:
    """Clients, options, models, streams and their parts do not print it."""
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
    """The attributes of a client, as a debugger prints them, hide it."""
    with Client("http://127.0.0.1:1", KEY) as client:
        assert KEY not in repr(vars(client))


BAD_JSON = CHUNKED + chunk(frame("{nonsense")) + LAST_CHUNK


def hang_up(connection: Connection) -> None:
    """Reset the connection instead of a response."""
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


def fail(name: str, client: Client, total_timeout_ms: int = 300) -> BaseException:
    """Return the exception of a turn that fails in this way."""
    setup = {"total_timeout_ms": total_timeout_ms, **SETUPS.get(name, {})}
    try:
        client.complete("x/y", "hi", **setup)
    except Exception as exc:  # noqa: BLE001 - the test checks what it refers to
        return exc
    raise AssertionError("the turn did not fail")


@pytest.fixture(params=["own", "session"])
def failing(
    request: pytest.FixtureRequest, session: requests.Session
) -> Callable[[str], BaseException]:
    """Make a turn fail, through a client's own connections or an injected session."""
    given = session if request.param == "session" else None

    def make(name: str) -> BaseException:
        with (
            Peer(FAILURES.get(name, says(WHOLE))) as peer,
            Client(peer.url, KEY, max_retries=0, session=given) as client,
        ):
            return fail(name, client)

    return make


def chain(exc: BaseException | None, seen: dict[int, BaseException]) -> list[BaseException]:
    """Return an exception and all that it refers to: causes, contexts and attributes."""
    if exc is None or id(exc) in seen:
        return list(seen.values())
    seen[id(exc)] = exc
    for inner in (exc.__cause__, exc.__context__, *exc.args, *vars(exc).values()):
        if isinstance(inner, BaseException):
            chain(inner, seen)
    return list(seen.values())


def insides(value: object, depth: int = 6) -> Iterator[str]:
    """Return all text within an object, including text that its repr hides."""
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


def shown(exc: BaseException) -> str:
    """Return all text that printing, logging or reporting an exception may write."""
    parts = [
        part
        for each in chain(exc, {})
        for part in (str(each), repr(each), repr(vars(each)), repr(each.args))
    ]
    return "\n".join([*parts, *traceback.format_exception(exc)])


def shown_with_locals(exc: BaseException) -> str:
    """Return the text of a report with the local variables of every frame."""
    report = traceback.TracebackException.from_exception(exc, capture_locals=True)
    return "".join(report.format())


def holders(exc: BaseException) -> list[str]:
    """Return the objects with the key among an exception, its causes and private attributes."""
    return [
        f"{type(each).__module__}.{type(each).__name__}"
        for each in chain(exc, {})
        if any(KEY in text for text in insides([vars(each), each.args]))
    ]


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_shows_the_key(failing: Callable[[str], BaseException], name: str) -> None:
    """Printing, logging and reporting a failure write no key."""
    assert KEY not in shown(failing(name))


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_shows_the_key_with_its_locals(
    failing: Callable[[str], BaseException], name: str
) -> None:
    """A report with the local variables of every frame has no key."""
    assert KEY not in shown_with_locals(failing(name))


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_failure_holds_the_key(failing: Callable[[str], BaseException], name: str) -> None:
    """Causes, contexts and attributes, also private ones, have no key."""
    assert holders(failing(name)) == []


@pytest.mark.parametrize("name", [*FAILURES, *SETUPS])
def test_no_pickled_failure_holds_the_key(
    failing: Callable[[str], BaseException], name: str
) -> None:
    """A failure survives a pickle round trip, and its pickle has no key."""
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


@pytest.mark.parametrize("key", ["bad\nkey", "b\u00e4d-\u20ac-key"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    """The error about an invalid key names its source and does not quote it."""
    with pytest.raises(ConfigurationError, match="the key from the argument api_key") as caught:
        Client("http://127.0.0.1:1", key)
    assert key not in shown(caught.value)


@pytest.mark.parametrize("via", ["own", "session"])
def test_a_failure_while_sending_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, session: requests.Session, via: str
) -> None:
    """If the write of the headers fails, the error and its frames show no key."""
    name = "sendall" if via == "session" else "send"
    original = getattr(socket.socket, name)

    def broken(sock: socket.socket, data: Any, *flags: int) -> Any:
        if bytes(data[:5]) == b"POST ":
            raise OSError(113, "No route to host")
        return original(sock, data, *flags)

    monkeypatch.setattr(socket.socket, name, broken, raising=False)
    given = session if via == "session" else None
    with Peer(answers()) as peer, Client(peer.url, KEY, max_retries=0, session=given) as client:
        exc = fail("", client)
    assert isinstance(exc, GatewayConnectionError)
    assert "No route to host" in str(exc)
    assert KEY not in shown(exc)
    assert KEY not in shown_with_locals(exc)


@pytest.fixture(params=["refused", "unknown", "untrusted"])
def unreachable(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> Iterator[str]:
    """Yield the URL of a closed port, an unknown host, or a server with an invalid certificate."""
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
    """Neither a refused connection, an unknown name nor a TLS error shows it."""
    with Client(unreachable, KEY, max_retries=0) as client:
        exc = fail("", client, total_timeout_ms=60_000)
    assert isinstance(exc, GatewayConnectionError)
    assert KEY not in shown(exc)
    assert KEY not in shown_with_locals(exc)
    assert KEY.encode() not in pickle.dumps(exc)


def test_an_unreachable_gateways_error_does_not_hold_the_key(unreachable: str) -> None:
    """No object that the error refers to has it, also in private attributes."""
    with Client(unreachable, KEY, max_retries=0) as client:
        assert holders(fail("", client, total_timeout_ms=60_000)) == []


def test_a_url_with_a_password_does_not_show_it() -> None:
    """Errors about the base URL omit its credentials."""
    with Peer(lambda _: None) as gone:
        url = gone.url.replace("http://", f"http://user:{KEY}@")
    with Client(url, max_retries=0) as client:
        exc = fail("", client)
    assert isinstance(exc, GatewayConnectionError)
    assert KEY not in "".join(f"{each} {each!r}" for each in chain(exc, {}))


@pytest.mark.parametrize("via", ["own", "session"])
def test_no_log_line_shows_the_key(
    caplog: pytest.LogCaptureFixture, session: requests.Session, via: str
) -> None:
    """With every logger at DEBUG, urllib3's too, no turn logs the key."""
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
    # A record with a traceback refers to frames, which keep the pool of the session open.
    caplog.clear()


def test_a_pickled_client_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickle omits the key in every form, unless the caller asks to include it."""
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
