"""A stream can be read by iteration, by its result, from many threads, or not at all."""

from __future__ import annotations

import gc
import itertools
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AssistantMessageEventStream,
    Client,
    Conversation,
    GatewayConnectionError,
    PiNativeError,
    TextDeltaEvent,
)
from pi_native._threads.channel import Channel
from pi_native.testing import FakeGateway, HangUp, Stall

from ...conftest import threads, wait_until
from ..calls import start, types, workers


def test_iterating_and_then_asking_for_the_result(gateway: FakeGateway) -> None:
    """The events are in order, and the result is the message of the last one."""
    gateway.reply("one two")
    stream = start(gateway.url)
    events = list(stream)
    assert types(events) == [
        "start",
        "text_start",
        "text_delta",
        "text_delta",
        "text_end",
        "done",
    ]
    assert stream.result() is events[-1].message
    assert stream.done
    assert list(stream) == []


def test_asking_for_the_result_and_then_iterating(gateway: FakeGateway) -> None:
    """`result()` consumes no event."""
    gateway.reply("one two")
    stream = start(gateway.url)
    message = stream.result()
    assert message.text == "one two"
    events = list(stream)
    assert (events[0].type, events[-1].type, len(events)) == ("start", "done", 6)
    assert stream.result() is message


def test_many_readers_share_the_events_and_the_result(gateway: FakeGateway) -> None:
    """Each event reaches one iterating thread, and `result()` is the same for all."""
    words = [f"{number} " for number in range(300)]
    gateway.reply(words)
    stream = start(gateway.url)
    parts: list[list[Any]] = [[] for _ in range(4)]
    results: list[Any] = []

    def ask() -> None:
        results.append(stream.result())

    targets: list[Callable[[], object]] = [lambda part=part: part.extend(stream) for part in parts]
    readers = [threading.Thread(target=target) for target in (*targets, ask, ask, ask)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    deltas = [e.delta for e in itertools.chain(*parts) if isinstance(e, TextDeltaEvent)]
    assert sorted(deltas) == sorted(words)
    assert sum(map(len, parts)) == len(words) + 4
    assert [id(result) for result in results] == [id(stream.result())] * 3


def test_many_readers_get_the_same_failure(gateway: FakeGateway) -> None:
    """Every thread that reads gets the exception, not only the first."""
    gateway.reply("one two", fault=HangUp(after=3))
    stream = start(gateway.url)
    failures: list[BaseException] = []

    def read(how: Callable[[AssistantMessageEventStream], object]) -> None:
        try:
            how(stream)
        except GatewayConnectionError as exc:
            failures.append(exc)

    hows = [list, list, AssistantMessageEventStream.result, AssistantMessageEventStream.result]
    readers = [threading.Thread(target=read, args=(how,)) for how in hows]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
    assert len(failures) == 4
    assert len({id(exc) for exc in failures}) == 1


def test_a_wait_for_the_result_can_time_out(gateway: FakeGateway) -> None:
    """`result(timeout)` raises TimeoutError, and the stream continues to its end."""
    gateway.reply("one two", fault=Stall(after=2))
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    with pytest.raises(TimeoutError) as caught:
        stream.result(0.02)
    assert not isinstance(caught.value, PiNativeError)
    assert not stream.done
    request.release()
    assert stream.result(5).text == "one two"


def test_one_daemon_thread_does_the_work(gateway: FakeGateway) -> None:
    """A running stream has exactly one thread, a daemon named pi-native-…."""
    gateway.add(*[gateway.default] * 3)
    gateway.default = gateway.default.__class__("hold", fault=Stall())  # type: ignore[union-attr]
    before = threads()
    streams = [start(gateway.url) for _ in range(3)]
    for stream in streams:
        stream.result(5)
    assert wait_until(lambda: not workers())
    streams = [start(gateway.url) for _ in range(5)]
    for _ in range(8):
        gateway.wait_for_request()
    working = workers()
    assert len(working) == 5
    assert all(worker.daemon for worker in working)
    assert len({worker.name for worker in working}) == 5
    others = [t for t in threads() - before - set(working) if "gateway" not in t.name]
    assert others == []
    for stream in streams:
        stream.close()
    assert wait_until(lambda: not workers())


def test_a_stream_without_a_reader_runs_to_its_end(gateway: FakeGateway) -> None:
    """A long turn ends without a reader, its worker ends, and all events are kept."""
    words = ["word "] * 1000
    gateway.reply(words)
    stream = start(gateway.url)
    assert gateway.wait_for_request().answered.wait(10)
    assert wait_until(lambda: stream.done)
    assert wait_until(lambda: not workers())
    assert [e.delta for e in stream if isinstance(e, TextDeltaEvent)] == words


def test_a_stream_dropped_unread_stops(gateway: FakeGateway) -> None:
    """A dropped stream closes its connection, ends its worker thread, and warns."""
    gateway.reply("one two three", fault=Stall(after=3))
    held = [start(gateway.url)]
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    with pytest.warns(ResourceWarning, match="dropped"):
        held.clear()
    assert request.client_gone.wait(2)
    assert wait_until(lambda: not workers())


def test_a_stream_dropped_after_its_end_is_quiet(gateway: FakeGateway) -> None:
    """A drop of an ended stream, read or not, causes no warning."""
    held = [start(gateway.url)]
    assert wait_until(lambda: held[0].done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held.clear()
        gc.collect()


@pytest.mark.parametrize("ask", ["complete", "conversation"])
def test_events_that_cannot_be_read_are_not_kept(
    ask: str, gateway: FakeGateway, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn without an iterator, such as `complete`, keeps no events."""
    channels: list[Channel[Any, Any]] = []
    discard = Channel.discard_events

    def discard_and_continue(channel: Channel[Any, Any]) -> None:
        discard(channel)
        channels.append(channel)
        assert gateway.wait_for_request(60).stalled.wait(60)
        gateway.release()

    monkeypatch.setattr(Channel, "discard_events", discard_and_continue)
    gateway.reply(["a"] * 50, fault=Stall(after=2))
    if ask == "complete":
        message = client.complete("x/y", "hi")
    else:
        message = Conversation(client, "x/y").ask("hi")
    assert message.text == "a" * 50
    assert len(channels[0].queue) < 6
