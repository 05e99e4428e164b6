"""Clients and calls that are in use at a fork work in the child and in the parent.

A child inherits sockets, but none of the threads that serve them. It must open its own connections,
start its own timer thread, and leave the parent's resources unchanged.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pi_native import (
    AbortError,
    AbortSignal,
    AssistantMessageEventStream,
    Client,
    Context,
    Conversation,
    StreamTimeoutError,
    UserMessage,
)
from pi_native.testing import FakeGateway, HTTPError, Reply, Stall

from ...forking import FORKS, LEFT, in_child
from ..calls import KEY, start

pytestmark = FORKS

LIMIT = 0.25  # seconds


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway without TLS.

    OpenSSL's own locks are copied by a fork: a child hung in 3 of 309 tries after a handshake in
    another thread. Programs that use https start processes with `spawn` or `forkserver`.
    """
    with FakeGateway(KEY) as gateway:
        yield gateway


Turn = Callable[..., AssistantMessageEventStream]


@pytest.fixture(params=["client", "low-level"])
def turn(request: pytest.FixtureRequest, gateway: FakeGateway) -> Iterator[Turn]:
    """Start a turn, through a client or through the low-level call and its shared connections."""
    client = Client(gateway.url, KEY, max_retries=0)

    def low_level(prompt: str, **options: Any) -> AssistantMessageEventStream:
        return start(gateway.url, context=Context([UserMessage(prompt)]), **options)

    def of_client(prompt: str, **options: Any) -> AssistantMessageEventStream:
        return client.stream("x/y", prompt, **options)

    with client:
        yield of_client if request.param == "client" else low_level


def stall(turn: Turn, **options: Any) -> tuple[str, float]:
    """Return the error of a turn that stalls, and the seconds until it is raised."""
    began = time.monotonic()
    try:
        turn("stall", **options).result(LEFT)
    except (StreamTimeoutError, AbortError, TimeoutError) as exc:
        words = getattr(exc, "phase", None) or type(exc).__name__
        return words, time.monotonic() - began
    return "no failure", 0.0


def echo_or_stall(request: Any) -> Reply:
    """Return the prompt as the response, or stall where the prompt asks for it."""
    prompt = request.context["messages"][0]["content"]
    return Reply([prompt] * 3, fault=Stall(after=0) if prompt == "stall" else ())


def test_a_turn_works_in_a_child_and_in_the_parent(gateway: FakeGateway, turn: Turn) -> None:
    """The child uses new connections, and the parent its kept one."""
    gateway.default = echo_or_stall
    assert turn("a").result(LEFT).text == "aaa"
    assert in_child(lambda: [turn(p).result(LEFT).text for p in "bc"]) == ["bbb", "ccc"]
    assert turn("d").result(LEFT).text == "ddd"
    connections = [request.connection for request in gateway.requests]
    assert connections == [1, 2, 2, 1]


def test_a_child_of_a_child_works_too(gateway: FakeGateway, turn: Turn) -> None:
    """Each generation opens its own connections."""
    gateway.default = echo_or_stall
    assert turn("a").result(LEFT).text == "aaa"

    def child() -> list[str]:
        return [turn("b").result(LEFT).text, in_child(lambda: turn("c").result(LEFT).text)]

    assert in_child(child) == ["bbb", "ccc"]
    assert [request.connection for request in gateway.requests] == [1, 2, 3]


def test_timeouts_pass_in_a_child_and_in_the_parent(gateway: FakeGateway, turn: Turn) -> None:
    """A stall times out in both, also if the timer thread ran before the fork."""
    gateway.default = echo_or_stall
    limits = {"stream_first_event_timeout_ms": LIMIT * 1000}
    assert turn("a").result(LEFT).text == "aaa"
    phase, took = in_child(lambda: stall(turn, **limits))
    assert phase == "first_event"
    assert LIMIT * 0.95 < took < LIMIT + 2
    phase, took = stall(turn, **limits)
    assert phase == "first_event"
    assert LIMIT * 0.95 < took < LIMIT + 2
    assert all(request.client_gone.wait(2) for request in gateway.requests[1:])


def test_cancelling_works_in_a_child(gateway: FakeGateway, turn: Turn) -> None:
    """Plain events, signals with a timeout and `abort` end a stalled turn in the child."""
    gateway.default = lambda _: Reply("never", fault=Stall(after=None))
    warm = stall(turn, signal=AbortSignal.timeout(LIMIT))
    assert warm[0] == "TimeoutError"

    def child() -> list[str]:
        event = threading.Event()
        threading.Timer(LIMIT, event.set).start()
        aborted = turn("stall")
        threading.Timer(LIMIT, aborted.abort).start()
        return [
            stall(turn, signal=AbortSignal.timeout(LIMIT))[0],
            stall(turn, signal=event)[0],
            stall(lambda _: aborted)[0],
        ]

    assert in_child(child) == ["TimeoutError", "AbortError", "AbortError"]


def test_a_timeout_from_before_the_fork_is_the_parents(gateway: FakeGateway, turn: Turn) -> None:
    """A turn that runs at the fork times out in the parent; the child's turns continue."""
    gateway.default = echo_or_stall
    stalled = turn("stall", stream_first_event_timeout_ms=LIMIT * 1000)
    assert gateway.wait_for_request().stalled.wait(5)
    assert in_child(lambda: turn("b").result(LEFT).text) == "bbb"
    with pytest.raises(StreamTimeoutError):
        stalled.result(LEFT)


def test_what_a_child_releases_stays_with_the_parent(gateway: FakeGateway) -> None:
    """Close, abort and drop in the child affect no turn or connection of the parent."""
    gateway.reply("kept").reply("one two", fault=Stall(after=3))
    client = Client(gateway.url, KEY, max_retries=0)
    running = [client.stream("x/y", "hi")]
    running[0].result(LEFT)
    running.append(client.stream("x/y", "hi"))
    gateway.wait_for_request()
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)

    def child() -> str:
        for stream in running:
            stream.abort()
            stream.close()
        client.close()
        running.clear()
        gc.collect()
        text = client.complete("x/y", "hi").text
        client.close()
        return text

    assert in_child(child)
    assert not request.client_gone.is_set()
    request.release()
    assert running[1].result(LEFT).text == "one two"
    assert client.complete("x/y", "hi").text
    assert [request.connection for request in gateway.requests] == [1, 1, 2, 1]
    client.close()


def test_gateway_calls_work_in_a_child(gateway: FakeGateway) -> None:
    """Gateway calls work in the child, and time out there."""
    with Client(gateway.url, KEY, first_event_timeout=LIMIT) as client:
        assert client.health().ok
        assert in_child(lambda: [client.health().ok, len(client.models())]) == [True, 1]
        gateway.add(HTTPError(200, fault=Stall(after=None)), path="/healthz")

        def late() -> str:
            try:
                client.health()
            except StreamTimeoutError as exc:
                return exc.phase
            return "no failure"

        assert in_child(late) == "headers"
        assert client.models()


class Conversations:
    """Threads that make turns until they are stopped."""

    def __init__(self, turn: Turn, count: int) -> None:
        self.wrong: list[object] = []
        self.turns = [0] * count
        self._turn = turn
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._converse, args=(number,)) for number in range(count)
        ]

    def __enter__(self) -> Conversations:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(LEFT)

    def _converse(self, number: int) -> None:
        while not self._enough.is_set():
            prompt = f"{number}-{self.turns[number]} "
            try:
                text = self._turn(prompt).result(LEFT).text
            except Exception as exc:  # noqa: BLE001 - checked by the test
                text = repr(exc)
            if text != prompt * 3:
                self.wrong.append((prompt, text))
            self.turns[number] += 1


@pytest.mark.slow
def test_forking_while_other_threads_stream(gateway: FakeGateway, turn: Turn) -> None:
    """Over many forks during streams, no child hangs and no turn of the parent fails."""
    gateway.default = echo_or_stall
    limits = {"stream_first_event_timeout_ms": LIMIT * 1000}

    def child() -> list[object]:
        return [turn("child").result(LEFT).text, stall(turn, **limits)[0]]

    with Conversations(turn, 6) as conversations:
        for _ in range(8):
            assert in_child(child) == ["child" * 3, "first_event"]
        assert stall(turn, **limits)[0] == "first_event"
    assert conversations.wrong == []
    assert min(conversations.turns) > 1


def test_a_conversations_turn_is_the_parents() -> None:
    """The child can use the history at once, and the parent can finish its turn."""
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY) as client:
        gateway.reply("One two three", fault=Stall(after=3)).reply("Yes.")
        chat = Conversation(client, "x/y")
        with chat.stream("Count.") as stream:
            next(stream)
            assert in_child(lambda: [chat.ask("Well?").text, len(chat.messages)]) == ["Yes.", 2]
            assert chat.messages == []
            gateway.release()
            stream.result()
        assert len(chat.messages) == 2
