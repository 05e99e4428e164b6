"""Which TCP connection serves which turn: what is kept, what is not, and whose it is."""

from __future__ import annotations

import base64
import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    AuthGatewayError,
    Client,
    Context,
    GatewayConnectionError,
    Model,
    StreamOptions,
    TextDeltaEvent,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway, HangUp, Reply, Stall

from ...conftest import sockets, wait_until
from ..calls import KEY, start, workers
from ..frames import FINISHED, WHOLE, frame
from ..peer import CHUNKED, LAST_CHUNK, OK, Connection, Peer, answers, chunk

# One turn after the other.


def test_six_turns_of_a_client_share_one_connection(gateway: FakeGateway, client: Client) -> None:
    """Iterating, reading text, asking for the result and completing all leave it for the next."""
    for _ in range(2):
        assert list(client.stream("x/y", "hi"))[-1].type == "done"
        assert "".join(client.stream("x/y", "hi").text_stream)
        assert client.stream("x/y", "hi").result().text
        assert client.complete("x/y", "hi").text
        with client.stream("x/y", "hi") as stream:
            assert next(stream).type == "start"
            assert stream.result().text
    assert [request.connection for request in gateway.requests] == [1] * 10
    assert gateway.connections == 1


def test_six_low_level_turns_share_one_connection(gateway: FakeGateway) -> None:
    """Calls without a session share the process's connections."""
    for index in range(6):
        stream = start(gateway.url)
        assert list(stream)[-1].type == "done" if index % 2 else stream.result().text
    assert gateway.connections == 1


def test_six_turns_of_an_injected_session_share_one_connection(
    gateway: FakeGateway, session: requests.Session
) -> None:
    """A session keeps its connection from call to call."""
    for _ in range(3):
        start(gateway.url, session=session).result()
    with Client(gateway.url, KEY, session=session) as client:
        for _ in range(3):
            client.complete("x/y", "hi")
    assert gateway.connections == 1


def test_the_other_pages_share_the_connection(gateway: FakeGateway, client: Client) -> None:
    """Questions about models and health travel on the same connection as turns."""
    client.health()
    client.complete("x/y", "hi")
    client.models()
    client.usage()
    client.complete("x/y", "hi")
    client.check_credentials()
    assert gateway.connections == 1


def test_a_failed_turn_keeps_the_connection(gateway: FakeGateway, client: Client) -> None:
    """A provider's failure is an answer like any other."""
    gateway.reply("partly", error_message="overloaded").reply("whole")
    assert client.stream("x/y", "hi").result().stop_reason == "error"
    assert client.stream("x/y", "hi").result().text == "whole"
    assert gateway.connections == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_refusal_keeps_the_connection(gateway: FakeGateway, client: Client, status: int) -> None:
    """An error whose body was read to its end leaves the connection for the next turn."""
    gateway.error(status).error(status, body=b"").error(status, body="x" * 100_000)
    for _ in range(3):
        with pytest.raises(AuthGatewayError):
            client.complete("x/y", "hi")
    assert client.complete("x/y", "hi").text
    assert gateway.connections == 1


def test_a_chunked_refusal_keeps_the_connection() -> None:
    """It makes no difference how the error's body was framed."""

    def refuse_and_answer(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(chunk(b'{"error":'), chunk(b'"x"}'), LAST_CHUNK)
        connection.read_request()
        connection.send(WHOLE)

    with Peer(refuse_and_answer) as peer, Client(peer.url, KEY, max_retries=0) as client:
        with pytest.raises(AuthGatewayError):
            client.complete("x/y", "hi")
        assert client.complete("x/y", "hi").text == "Hello"
        assert peer.accepted == 1


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_an_answer_whose_end_is_late_keeps_the_connection(
    gateway: FakeGateway, client: Client, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the body that comes after the result still saves the connection."""
    monkeypatch.setattr("pi_native._turn.attempt._PUBLISH_SECONDS", 0.04)  # as it is
    gateway.raw([frame(FINISHED), frame("[DONE]")], framing=framing, fault=Stall(after=1))
    assert client.stream("x/y", "hi").result().text == "Hello"
    assert workers(), "the result was published only when the connection was free"
    gateway.release()
    assert wait_until(lambda: not workers())
    client.complete("x/y", "hi")
    assert gateway.connections == 1


@pytest.mark.parametrize("how", ["abort", "with", "timeout"])
def test_a_turn_that_was_cut_does_not_keep_its_connection(
    gateway: FakeGateway, client: Client, how: str
) -> None:
    """The connection of a turn that did not come to its end serves no other turn."""
    gateway.reply("one two", fault=Stall(after=3))
    stream = client.stream("x/y", "hi", total_timeout_ms=200 if how == "timeout" else None)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    if how == "abort":
        stream.abort()
    elif how == "with":
        with stream:
            pass
    else:
        with pytest.raises(TimeoutError):
            stream.result(5)
    assert request.client_gone.wait(2)
    assert client.complete("x/y", "hi").text
    assert [request.connection for request in gateway.requests] == [1, 2]


def test_an_answer_that_closes_its_connection_does_not_keep_it() -> None:
    """`Connection: close` is obeyed, and the next turn connects again without a fuss."""

    def answer_once(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(chunk(frame(FINISHED)), LAST_CHUNK)

    with Peer(answer_once) as peer, Client(peer.url, KEY, max_retries=0) as client:
        for _ in range(3):
            assert client.complete("x/y", "hi").text == "Hello"
        assert peer.accepted == 3


# Connections that the gateway closes in between.


def answers_then(
    closing: Callable[[Connection], object], closed: threading.Event | None = None
) -> Callable[[Connection], None]:
    """Make a script: the first connection answers one turn and then does this, the others all."""
    first = threading.Lock()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(WHOLE)
        if first.acquire(blocking=False):
            closing(connection)
            connection.close()
            if closed is not None:
                closed.set()
            return
        while True:
            connection.read_request()
            connection.send(WHOLE)

    return script


@pytest.mark.usefixtures("patient_resend")
@pytest.mark.parametrize("kind", ["client", "low-level", "session"])
def test_a_kept_connection_that_was_closed_is_replaced(
    kind: str, session: requests.Session
) -> None:
    """A gateway that closes between two turns, with a FIN, costs a new connection and no error."""
    closed = threading.Event()
    options = {"session": session} if kind == "session" else {}
    with Peer(answers_then(lambda _: None, closed)) as peer:
        with Client(peer.url, KEY, max_retries=0) as client:
            for _ in range(3):
                if kind == "client":
                    assert client.complete("x/y", "hi").text == "Hello"
                else:
                    assert start(peer.url, **options).result().text == "Hello"
                assert wait_until(lambda: not workers())  # the connection is given back
                assert closed.wait(20)
        assert peer.accepted == 2


@pytest.mark.usefixtures("patient_resend")
def test_a_kept_connection_that_was_reset_is_replaced() -> None:
    """A gateway that resets between two turns costs a new connection and no error."""
    closed = threading.Event()
    with (
        Peer(answers_then(Connection.reset, closed)) as peer,
        Client(peer.url, KEY, max_retries=0) as client,
    ):
        for _ in range(3):
            assert client.complete("x/y", "hi").text == "Hello"
            assert wait_until(lambda: not workers())  # the connection is given back
            assert closed.wait(20)
        assert peer.accepted == 2


def when_the_next_comes(connection: Connection) -> None:
    """Wait for the first byte of the next request and leave it unread, so that closing resets."""
    assert connection.sock.recv(1, socket.MSG_PEEK)


def after_the_next(connection: Connection) -> None:
    """Read the next request as a whole, so that closing is an orderly end instead of an answer."""
    connection.read_request()


@pytest.mark.usefixtures("patient_resend")
@pytest.mark.parametrize("kind", ["client", "low-level"])
@pytest.mark.parametrize("closing", [when_the_next_comes, after_the_next])
@pytest.mark.parametrize("prompt", ["hi", "x" * 3_000_000], ids=["short", "long"])
def test_a_kept_connection_that_closes_while_sending_is_replaced(
    kind: str, closing: Callable[[Connection], object], prompt: str
) -> None:
    """A gateway that closes at the moment of the next request costs a new connection, no error."""
    with (
        Peer(answers_then(closing)) as peer,
        Client(peer.url, KEY, max_retries=0) as client,
    ):
        for _ in range(3):
            if kind == "client":
                message = client.complete("x/y", prompt)
            else:
                model = Model("y", "x", base_url=peer.url)
                message = stream_pi_native(model, Context([UserMessage(prompt)])).result()
            assert message.text == "Hello"
            assert wait_until(lambda: not workers())  # the connection is given back
        assert peer.accepted == 2


def answers_once_then_resets(seconds: float) -> Callable[[Connection], None]:
    """Make a script: the first connection resets its second request after so many seconds."""
    first = threading.Lock()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(WHOLE)
        connection.read_request()
        if first.acquire(blocking=False):
            threading.Event().wait(seconds)
            connection.reset()
            return
        connection.send(WHOLE)

    return script


def test_a_request_that_waited_is_not_sent_again() -> None:
    """A reused connection that dies after more than 0.5 s fails the turn: it may be billed."""
    with (
        Peer(answers_once_then_resets(0.8)) as peer,
        Client(peer.url, KEY, max_retries=0) as client,
    ):
        assert client.complete("x/y", "hi").text == "Hello"
        stream = client.stream("x/y", "hi")
        with pytest.raises(GatewayConnectionError):
            stream.result(10)
        assert stream.stats.attempts == 1
        assert peer.accepted == 1


@pytest.mark.usefixtures("patient_resend")
def test_a_request_that_is_sent_again_is_counted() -> None:
    """A reused connection that dies at once is replaced, and the statistics say two attempts."""
    with Peer(answers_then(after_the_next)) as peer, Client(peer.url, KEY, max_retries=0) as client:
        assert client.complete("x/y", "hi").text == "Hello"
        stream = client.stream("x/y", "hi")
        assert stream.result(10).text == "Hello"
        assert stream.stats.attempts == 2
        assert peer.accepted == 2


def test_a_new_connection_that_closes_is_an_error() -> None:
    """Only a connection that served before is replaced; a gateway that hangs up is an error."""
    with (
        Peer(answers(then=Connection.close)) as peer,
        Client(peer.url, KEY, max_retries=0) as client,
    ):
        with pytest.raises(GatewayConnectionError):
            client.complete("x/y", "hi")
        assert peer.accepted == 1


def test_a_kept_connection_that_breaks_behind_the_headers_is_an_error() -> None:
    """Once an answer has begun, nothing is sent again: its tokens may be billed."""

    def answer_and_break(connection: Connection) -> None:
        connection.read_request()
        connection.send(WHOLE)
        connection.read_request()
        connection.send(CHUNKED)
        connection.close()

    with Peer(answer_and_break) as peer, Client(peer.url, KEY, max_retries=0) as client:
        assert client.complete("x/y", "hi").text == "Hello"
        with pytest.raises(GatewayConnectionError):
            client.complete("x/y", "hi")
        assert peer.accepted == 1


# Many at once.


@pytest.mark.parametrize("kind", ["client", "low-level"])
def test_forty_turns_at_once(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """They all run side by side, and nothing is warned of or logged about a full pool."""
    gateway.default = Reply("one two", fault=Stall(after=2))
    with caplog.at_level(logging.WARNING):
        streams = [
            client.stream("x/y", "hi") if kind == "client" else start(gateway.url)
            for _ in range(40)
        ]
        requests_ = [gateway.wait_for_request(20) for _ in streams]
        assert all(request.stalled.wait(20) for request in requests_)
        assert gateway.open_connections == 40
        gateway.release()
        assert all(stream.result(20).text == "one two" for stream in streams)
        assert wait_until(lambda: not workers())
    assert [record.getMessage() for record in caplog.records] == []
    assert wait_until(lambda: 0 < gateway.open_connections <= 16)
    before = gateway.connections
    gateway.default = Reply("three")
    assert (client.complete("x/y", "hi") if kind == "client" else start(gateway.url).result()).text
    assert gateway.connections == before


# Whose connection it is.


def test_a_late_cancel_does_not_reach_the_next_turn(gateway: FakeGateway, client: Client) -> None:
    """Aborting a turn that has ended leaves the turn that has got its connection running."""
    gateway.default = Reply("one two", fault=Stall(after=3))
    first = client.stream("x/y", "hi")
    gateway.wait_for_request().release()
    first.result(5)
    second = client.stream("x/y", "hi")
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    first.abort()
    first.close()
    request.release()
    assert second.result(5).text == "one two"
    assert gateway.connections == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["client", "low-level", "session"])
def test_late_cancels_never_reach_the_next_turn(
    gateway: FakeGateway, client: Client, session: requests.Session, kind: str
) -> None:
    """Over many rounds, aborting at any moment around the end never harms the turn behind it."""
    random.seed(7)
    gateway.default = Reply(["a"] * 5)

    def turn() -> AssistantMessageEventStream:
        if kind == "client":
            return client.stream("x/y", "hi")
        return start(gateway.url, **({"session": session} if kind == "session" else {}))

    shared = 0
    for _ in range(150):
        first = turn()
        go = threading.Event()
        delay = random.random() * 0.004

        def abort(first: Any = first, go: Any = go, delay: float = delay) -> None:
            go.wait()
            until = time.perf_counter() + delay
            while time.perf_counter() < until:
                pass
            first.abort()

        canceller = threading.Thread(target=abort)
        canceller.start()
        assert list(first)[-1].type == "done"
        go.set()
        second = turn()
        message = second.result(5)
        canceller.join()
        assert (message.stop_reason, message.text) == ("stop", "aaaaa")
        came = gateway.requests
        shared += came[-1].connection == came[-2].connection
    assert shared > 100, "the turns hardly ever shared a connection, so nothing was tested"


@pytest.mark.parametrize("kind", ["client", "session"])
def test_a_cancel_behind_the_last_byte_does_not_reach_the_next_turn(
    client: Client, session: requests.Session, gateway: FakeGateway, kind: str
) -> None:
    """A turn whose body is read, but whose worker is still busy, has no connection any more."""
    options = {"session": session} if kind == "session" else {}
    gateway.raw(
        [frame(FINISHED) + frame("[DONE]")], framing="length"
    )  # with a length, the last read gives the connection back
    busy, go = threading.Event(), threading.Event()

    def observe(event: Any) -> None:
        if event.data == "[DONE]":
            busy.set()
            go.wait(5)

    first = client.stream("x/y", "hi", on_sse_event=observe, **options)
    assert busy.wait(5)
    gateway.reply("one two", fault=Stall(after=3))
    second = client.stream("x/y", "hi", **options)
    gateway.wait_for_request()
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert request.connection == 1
    first.abort()
    request.release()
    try:
        assert second.result(5).text == "one two"
    finally:
        go.set()


@pytest.mark.slow
def test_turns_side_by_side_get_their_own_words(gateway: FakeGateway, client: Client) -> None:
    """Many threads with turns and cancels all the time never read each other's answers."""
    gateway.default = lambda request: Reply([request.context["messages"][0]["content"]] * 20)
    wrong: list[object] = []

    def converse(number: int) -> None:
        for turn in range(15):
            prompt = f"{number}-{turn}"
            stream = client.stream("x/y", prompt)
            try:
                for event in stream:
                    if turn % 3 == 1 and isinstance(event, TextDeltaEvent):
                        stream.abort()
                    if isinstance(event, TextDeltaEvent) and event.delta != prompt:
                        wrong.append(event)
                message = stream.result(10)
            except Exception as exc:  # noqa: BLE001 - looked at below
                wrong.append(exc)
                continue
            if message.stop_reason != "aborted" and message.text != prompt * 20:
                wrong.append(message)

    conversations = [threading.Thread(target=converse, args=(number,)) for number in range(8)]
    for thread in conversations:
        thread.start()
    for thread in conversations:
        thread.join(30)
    assert wrong == []


# Closing.


def test_closing_a_client_closes_its_connections_at_once(gateway: FakeGateway) -> None:
    """`close()` ends the kept connections now, without waiting for a garbage collection."""
    client = Client(gateway.url, KEY)
    streams = [client.stream("x/y", "hi") for _ in range(3)]
    for stream in streams:
        stream.result()
    assert wait_until(lambda: not workers())
    assert gateway.open_connections > 0
    before = len(sockets())
    client.close()
    assert len(sockets()) < before
    assert wait_until(lambda: gateway.open_connections == 0)
    assert all(request.client_gone.wait(2) for request in gateway.requests)


def test_a_closed_client_works_on(gateway: FakeGateway) -> None:
    """A client that was closed connects again for the next turn, and can be closed again."""
    client = Client(gateway.url, KEY)
    for _ in range(3):
        assert client.complete("x/y", "hi").text
        client.close()
    client.close()
    assert gateway.connections == 3


def test_closing_a_client_leaves_running_turns_running(
    gateway: FakeGateway, client: Client
) -> None:
    """A turn under way ends well behind `close()`, and leaves nothing open then."""
    gateway.reply("one two", fault=Stall(after=3))
    stream = client.stream("x/y", "hi")
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    client.close()
    request.release()
    assert stream.result(5).text == "one two"
    assert request.client_gone.wait(2), "its connection was kept without an owner"


def test_closing_a_client_leaves_an_injected_session_open(
    gateway: FakeGateway, session: requests.Session
) -> None:
    """The client does not close a session that it was given."""
    with Client(gateway.url, KEY, session=session) as client:
        client.complete("x/y", "hi")
    with Client(gateway.url, KEY, session=session) as client:
        client.complete("x/y", "hi")
    assert gateway.connections == 1


# What an injected session brings along.


def test_a_sessions_headers_are_sent(gateway: FakeGateway, session: requests.Session) -> None:
    """Its own headers go with the request."""
    session.headers["X-Corp"] = "yes"
    session.headers["User-Agent"] = "corp/1"
    start(gateway.url, session=session).result()
    headers = gateway.requests[0].headers
    assert (headers["x-corp"], headers["user-agent"]) == ("yes", "corp/1")


def test_a_sessions_headers_are_the_weakest(
    gateway: FakeGateway, session: requests.Session
) -> None:
    """Headers of the protocol, the model and the key replace those of the session."""
    session.headers.update(
        {
            "ACCEPT": "text/html",
            "content-type": "text/plain",
            "accept-encoding": "gzip",
            "authorization": "Basic corp",
            "x-mine": "session",
        }
    )
    model = Model("y", "x", base_url=gateway.url, headers={"X-Mine": "model"})
    stream_pi_native(
        model, Context([UserMessage("hi")]), StreamOptions(api_key=KEY, session=session)
    ).result()
    headers = gateway.requests[0].headers
    for name, value in (
        ("accept", "text/event-stream"),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
        ("authorization", f"Bearer {KEY}"),
        ("x-mine", "model"),
    ):
        assert headers.get_all(name) == [value]


class Signed(requests.auth.AuthBase):
    """An `auth=` that writes its own Authorization."""

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request."""
        prepared.headers["Authorization"] = "Signed"
        return prepared


BASIC = "Basic " + base64.b64encode(b"user:password").decode()


@pytest.mark.parametrize(
    ("auth", "sent"), [(("user", "password"), BASIC), (Signed(), "Signed")], ids=["basic", "signed"]
)
def test_a_sessions_auth_applies_when_there_is_no_bearer(
    session: requests.Session, auth: Any, sent: str
) -> None:
    """Without a key its `auth` signs the request; with one the bearer stays as it is."""
    session.auth = auth
    with FakeGateway(None) as gateway:
        start(gateway.url, session=session, api_key=None).result()
        start(gateway.url, session=session).result()
        sent_headers = [request.headers.get_all("authorization") for request in gateway.requests]
    assert sent_headers == [[sent], [f"Bearer {KEY}"]]


def test_a_sessions_auth_does_not_replace_a_models_authorization(
    session: requests.Session,
) -> None:
    """A model that brings its own Authorization keeps it."""
    session.auth = ("user", "password")
    with FakeGateway(None) as gateway:
        model = Model("y", "x", base_url=gateway.url, headers={"authorization": "Own"})
        stream_pi_native(
            model, Context([UserMessage("hi")]), StreamOptions(session=session)
        ).result()
        assert gateway.requests[0].headers.get_all("authorization") == ["Own"]


def test_a_sessions_cookies_are_sent(gateway: FakeGateway, session: requests.Session) -> None:
    """Cookies of the caller's session are sent, together with the bearer."""
    session.cookies.set("corp", "yes")
    start(gateway.url, session=session).result()
    headers = gateway.requests[0].headers
    assert headers["cookie"] == "corp=yes"
    assert headers["authorization"] == f"Bearer {KEY}"


def test_a_session_goes_with_one_call(
    gateway: FakeGateway, client: Client, session: requests.Session
) -> None:
    """A session given to one turn of a client is used for that turn alone."""
    session.headers["X-Corp"] = "yes"
    client.complete("x/y", "hi", session=session)
    client.complete("x/y", "hi")
    assert [request.headers["x-corp"] for request in gateway.requests] == ["yes", None]


def test_a_sessions_adapter_is_used(session: requests.Session) -> None:
    """An adapter that is mounted on the session gets the request, and its answer is read."""
    seen: list[requests.PreparedRequest] = []

    class Corporate(requests.adapters.HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
            seen.append(request)
            request.url = request.url.replace("http://corporate.invalid", gateway.url)
            return super().send(request, *args, **kwargs)

    with FakeGateway(KEY) as gateway:
        session.mount("http://corporate.invalid", Corporate())
        message = start("http://corporate.invalid", session=session).result()
    assert isinstance(message, AssistantMessage)
    assert message.text
    assert [request.method for request in seen] == ["POST"]


def test_a_sessions_hooks_are_called(gateway: FakeGateway, session: requests.Session) -> None:
    """A response hook of the session sees the answer's head."""
    seen: list[int] = []

    def hook(response: requests.Response, *_: object, **__: object) -> None:
        seen.append(response.status_code)

    session.hooks["response"].append(hook)
    start(gateway.url, session=session).result()
    assert seen == [200]


def test_a_refused_key_is_not_replaced(session: requests.Session) -> None:
    """A 401 with a bearer is raised, and no second request with other credentials is made."""
    session.auth = requests.auth.HTTPDigestAuth("user", "password")
    with FakeGateway("other") as gateway:
        with pytest.raises(AuthGatewayError):
            start(gateway.url, session=session).result()
        assert len(gateway.requests) == 1


def test_a_hang_up_costs_no_other_turn_its_connection(gateway: FakeGateway, client: Client) -> None:
    """A turn that breaks leaves the connections of its neighbours alone."""
    gateway.reply("one two", fault=Stall(after=3))
    good = client.stream("x/y", "hi")
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    gateway.reply("three", fault=HangUp(after=2))
    with pytest.raises(GatewayConnectionError):
        client.stream("x/y", "hi").result(5)
    request.release()
    assert good.result(5).text == "one two"
