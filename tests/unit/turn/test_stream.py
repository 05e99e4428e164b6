"""The stream of a caller: events, text, result, and closing it."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import pickle
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import (
    AbortError,
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    Client,
    Context,
    DecodeError,
    DoneEvent,
    ErrorEvent,
    EventStream,
    IncompleteStreamError,
    Model,
    PiNativeError,
    ProviderError,
    ResponseInfo,
    StartEvent,
    TextContent,
    TextDeltaEvent,
    TextEndEvent,
    TextStartEvent,
    ThinkingDeltaEvent,
    ToolCallDeltaEvent,
    UnknownEvent,
    UserMessage,
    stream_pi_native,
    to_wire,
)
from pi_native._threads import timers
from pi_native._turn.stream import MessageChannel

from ...characters import CHARACTERS

LEFT = 20.0  # seconds that a wait may take at most


def message(text: str = "", stop_reason: str = "stop") -> AssistantMessage:
    """Return a message with `text`."""
    return AssistantMessage([TextContent(text)], stop_reason=stop_reason, timestamp=1)  # type: ignore[arg-type]


class FakeProducer:
    """A producer that feeds a stream and records its calls."""

    def __init__(self) -> None:
        self.channel = MessageChannel()
        self.response: ResponseInfo | None = None
        self.truncated = False
        self.cancelled = False
        self.calls: list[tuple[object, ...]] = []

    def stream(self) -> AssistantMessageEventStream:
        """Return a stream that this producer feeds."""
        return AssistantMessageEventStream(self.channel, self)

    def abort(self, reason: object) -> None:
        """Record the call."""
        self.calls.append(("abort", reason))

    def drop(self) -> None:
        """Record the call."""
        self.calls.append(("drop",))

    def join(self, timeout: float) -> None:
        """Record the call."""
        self.calls.append(("join", timeout))


# Any stream.


def test_a_stream_gives_its_events_and_its_result() -> None:
    """Events are iterated in the order of push(), and result() returns the value of end()."""
    stream = EventStream[int, str]()
    assert iter(stream) is stream
    for number in range(3):
        stream.push(number)
    assert not stream.done
    stream.end("done")
    assert stream.done
    assert list(stream) == [0, 1, 2]
    assert list(stream) == []
    assert stream.result() == "done"
    assert stream.result(timeout=0) == "done"


def test_the_result_may_come_before_the_events_are_read() -> None:
    """result() needs no iteration, and does not consume the events."""
    stream = EventStream[int, str]()
    stream.push(1)
    stream.end("done")
    assert stream.result() == "done"
    assert list(stream) == [1]


def test_a_stream_may_end_without_a_result() -> None:
    """end() alone makes the result None."""
    stream = EventStream[int, None]()
    stream.end()
    assert stream.result() is None


def test_a_failure_is_raised_after_the_events_and_by_result() -> None:
    """A reader gets the events first; then each reader and each call raises the failure."""
    stream = EventStream[int, str]()
    failure = OSError("broken")
    stream.push(1)
    stream.fail(failure)
    assert next(stream) == 1
    for _ in range(2):
        for ask in (stream.__next__, stream.result):
            with pytest.raises(OSError, match="broken") as raised:
                ask()
            assert raised.value is failure
    assert stream.done


@pytest.mark.parametrize("finish", ["end", "fail"])
def test_a_producer_has_no_effect_after_the_end(finish: str) -> None:
    """push(), end() and fail() of a stream that has ended change nothing and raise nothing."""
    stream = EventStream[int, str]()
    if finish == "end":
        stream.end("first")
    else:
        stream.fail(OSError("first"))
    stream.push(1)
    stream.end("second")
    stream.fail(OSError("second"))
    if finish == "end":
        assert stream.result() == "first"
        assert list(stream) == []
    else:
        with pytest.raises(OSError, match="first"):
            stream.result()
        with pytest.raises(OSError, match="first"):
            next(stream)


def test_a_timeout_of_result_leaves_the_stream_running() -> None:
    """After a TimeoutError of result(), events and result still arrive."""
    stream = EventStream[int, str]()
    with pytest.raises(TimeoutError):
        stream.result(0.01)
    assert not stream.done
    stream.push(1)
    stream.end("done")
    assert list(stream) == [1]
    assert stream.result() == "done"


def test_many_threads_may_iterate_and_wait() -> None:
    """Iterations in several threads share the events; all that wait get the result."""
    stream = EventStream[int, str]()
    got: list[int] = []
    results: list[str] = []
    threads = [threading.Thread(target=lambda: got.extend(stream)) for _ in range(4)]
    threads += [threading.Thread(target=lambda: results.append(stream.result())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(500):
        stream.push(number)
    stream.end("done")
    for thread in threads:
        thread.join(LEFT)
        assert not thread.is_alive()
    assert sorted(got) == list(range(500))
    assert results == ["done"] * 4


# A turn's stream.


DONE = DoneEvent("stop", message("all"))
FAILED = ErrorEvent("error", message("so far", "error"))


@pytest.mark.parametrize("last", [DONE, FAILED], ids=["done", "error"])
def test_a_terminal_event_ends_the_stream(last: DoneEvent | ErrorEvent) -> None:
    """A pushed "done" or "error" is iterated as the last event, and its message is the result."""
    stream = AssistantMessageEventStream()
    start = StartEvent(message())
    stream.push(start)
    stream.push(last)
    stream.push(StartEvent(message("late")))
    assert stream.done
    assert list(stream) == [start, last]
    assert stream.result() is last.partial
    assert stream.partial is last.partial


def test_a_failure_of_the_provider_is_not_an_exception() -> None:
    """A failed turn's result is its message, whose raise_for_error() raises."""
    stream = AssistantMessageEventStream()
    stream.push(FAILED)
    assert stream.result().stop_reason == "error"
    assert stream.result().text == "so far"


def test_ending_with_a_message_is_a_result() -> None:
    """end(message) makes it the result, without another event."""
    stream = AssistantMessageEventStream()
    said = message("x")
    stream.end(said)
    assert stream.result() is said
    assert list(stream) == []


def test_ending_without_a_message_is_an_incomplete_stream() -> None:
    """end() alone fails a turn's stream, as its message would be unknown."""
    stream = AssistantMessageEventStream()
    stream.end()
    with pytest.raises(IncompleteStreamError):
        stream.result()
    with pytest.raises(IncompleteStreamError):
        next(stream)


def test_partial_is_the_newest_snapshot() -> None:
    """`partial` follows the events as they are pushed, read or not, and stays after a failure."""
    stream = AssistantMessageEventStream()
    assert stream.partial is None
    first, second = message("a"), message("ab")
    stream.push(StartEvent(first))
    assert stream.partial is first
    stream.push(TextDeltaEvent(0, "b", second))
    stream.push(TextDeltaEvent(0, "c"))
    stream.push(UnknownEvent({"type": "new"}, message("unknown")))
    assert stream.partial is second
    stream.fail(OSError("broken"))
    assert stream.partial is second
    stream.push(StartEvent(message("late")))
    assert stream.partial is second


def test_an_unreadable_snapshot_is_not_a_partial() -> None:
    """`partial` is None, and raises nothing, if the newest snapshot cannot be read."""

    def unreadable() -> AssistantMessage:
        raise DecodeError("no message")

    stream = AssistantMessageEventStream()
    stream.push(StartEvent(unreadable))
    assert stream.partial is None


def test_a_batch_is_noted_to_its_last_snapshot() -> None:
    """The last event of a batch that has a snapshot sets `partial`."""
    channel = MessageChannel()
    newest = message("ab")
    channel.push_all([StartEvent(message("a")), TextDeltaEvent(0, "b", newest), StartEvent()])
    assert channel.partial is newest
    channel.push_all([StartEvent()])
    assert channel.partial is newest


def test_response_and_truncated_are_the_producers() -> None:
    """`response` and `truncated` come from the producer of the stream."""
    producer = FakeProducer()
    with producer.stream() as stream:
        assert stream.response is None
        assert stream.truncated is False
        producer.response = ResponseInfo(200, {}, "req_1")
        producer.truncated = True
        assert stream.response is producer.response
        assert stream.truncated is True
        producer.channel.push(DONE)
    alone = AssistantMessageEventStream()
    assert alone.response is None
    assert alone.truncated is False


# Text.


def text_of(*events: AssistantMessageEvent) -> list[str]:
    """Return the pieces of `text_stream` for these events."""
    stream = AssistantMessageEventStream()
    for event in events:
        stream.push(event)
    stream.push(DONE)
    return list(stream.text_stream)


def deltas(*pieces: str) -> list[AssistantMessageEvent]:
    """Return text deltas."""
    return [TextDeltaEvent(0, piece) for piece in pieces]


def test_text_stream_is_the_text_alone() -> None:
    """text_stream yields the text deltas, without thinking and tool calls."""
    events: list[AssistantMessageEvent] = [
        StartEvent(message()),
        ThinkingDeltaEvent(0, "hm"),
        TextStartEvent(1),
        TextDeltaEvent(1, "Hel"),
        ToolCallDeltaEvent(2, "{}"),
        UnknownEvent({"type": "new", "delta": "no"}),
        TextDeltaEvent(1, ""),
        TextDeltaEvent(1, "lo"),
        TextEndEvent(1, "Hello"),
    ]
    assert text_of(*events) == ["Hel", "lo"]


def test_text_is_yielded_with_its_event() -> None:
    """text_stream yields a delta before the next event arrives."""
    stream = AssistantMessageEventStream()
    texts = stream.text_stream
    stream.push(TextDeltaEvent(0, "a"))
    assert next(texts) == "a"
    stream.push(TextDeltaEvent(0, "b"))
    assert next(texts) == "b"
    stream.push(DONE)
    assert list(texts) == []


@pytest.mark.parametrize(
    ("pieces", "texts"),
    [
        (["\ud83d", "\ude00"], ["\U0001f600"]),
        (["a\ud83d", "\ude00b"], ["a", "\U0001f600b"]),
        (["\ud83d\ude00"], ["\U0001f600"]),
        (["\ud83d", "", "\ude00"], ["\U0001f600"]),
        (["é\ud83d", "\ude00\ud83d", "\ude01"], ["é", "\U0001f600", "\U0001f601"]),
        (["\ud83d", "\ud83d", "\ude00"], ["\ufffd", "\U0001f600"]),
        (["\ud83d", "x"], ["\ufffdx"]),
        (["\ude00"], ["\ufffd"]),
        (["a", "\ud83d"], ["a", "\ufffd"]),
        (["\U0001f600", "ü"], ["\U0001f600", "ü"]),
    ],
)
def test_split_characters_are_joined(pieces: list[str], texts: list[str]) -> None:
    """A surrogate pair split over two deltas is joined; half a pair alone becomes U+FFFD."""
    assert text_of(*deltas(*pieces)) == texts


@given(st.text(CHARACTERS, max_size=30), st.lists(st.integers(0, 60), max_size=10))
def test_text_that_is_split_anywhere_is_joined(text: str, cuts: list[int]) -> None:
    """The pieces join to the text for any split between UTF-16 units, as in JavaScript."""
    units = text.encode("utf-16-le")
    marks = [0, *sorted(min(2 * cut, len(units)) for cut in cuts), len(units)]
    pieces = [
        units[start:end].decode("utf-16-le", "surrogatepass")
        for start, end in itertools.pairwise(marks)
    ]
    texts = text_of(*deltas(*pieces))
    assert "".join(texts) == text
    for piece in texts:
        piece.encode()


def test_text_stream_raises_the_failure_after_the_text() -> None:
    """text_stream raises a failure after the text that arrived before it."""
    stream = AssistantMessageEventStream()
    stream.push(TextDeltaEvent(0, "a"))
    stream.fail(OSError("broken"))
    texts = stream.text_stream
    assert next(texts) == "a"
    with pytest.raises(OSError, match="broken"):
        next(texts)


# Closing and dropping.


def test_the_repr_shows_the_state() -> None:
    """The repr shows that the stream is running, or how it ended."""
    streams = [AssistantMessageEventStream() for _ in range(4)]
    streams[1].end(message("Hello"))
    streams[2].end(message("Hello", "error"))
    streams[3].fail(AbortError())
    assert [repr(stream) for stream in streams] == [
        "<AssistantMessageEventStream running>",
        "<AssistantMessageEventStream ended: stop>",
        "<AssistantMessageEventStream ended: error>",
        "<AssistantMessageEventStream failed: AbortError>",
    ]


def test_aborting_calls_the_producer() -> None:
    """abort() and close() call abort() of the producer, with the reason."""
    producer = FakeProducer()
    stream = producer.stream()
    stream.abort("enough")
    stream.close()
    assert producer.calls == [("abort", "enough"), ("abort", None)]
    producer.channel.push(DONE)


def test_leaving_the_block_closes_and_joins() -> None:
    """`with` returns the stream; its end aborts the turn and joins the worker briefly."""
    producer = FakeProducer()
    stream = producer.stream()
    with stream as entered:
        assert entered is stream
        assert producer.calls == []
        producer.channel.push(DONE)
    assert [call[0] for call in producer.calls] == ["abort", "join"]
    assert 0 < float(str(producer.calls[1][1])) <= 0.05


def test_leaving_the_block_with_an_exception_closes_too() -> None:
    """An exception in the block closes the stream, and is not suppressed."""
    producer = FakeProducer()
    stream = producer.stream()
    with pytest.raises(KeyError), stream:
        raise KeyError
    producer.channel.push(DONE)
    assert producer.calls[0] == ("abort", None)


def test_a_stream_without_a_producer_can_be_aborted() -> None:
    """A stream made by hand fails with the reason of abort(), and only the first counts."""
    stream = AssistantMessageEventStream()
    with stream:
        stream.abort("enough")
    with pytest.raises(AbortError, match="enough") as raised:
        stream.result()
    assert raised.value.reason == "enough"


def test_an_exception_as_the_reason_is_raised_as_it_is() -> None:
    """abort(exception) makes the stream raise that very exception."""
    stream = AssistantMessageEventStream()
    reason = KeyError("mine")
    stream.abort(reason)
    with pytest.raises(KeyError) as raised:
        next(stream)
    assert raised.value is reason


def test_closing_after_the_end_changes_nothing() -> None:
    """close() of a stream that has ended leaves its result alone."""
    stream = AssistantMessageEventStream()
    stream.push(DONE)
    stream.close()
    assert stream.result() is DONE.message
    assert list(stream) == [DONE]


def drop(held: list[object]) -> list[str]:
    """Drop the objects in the list; return the resource warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        held.clear()
        gc.collect()
    return [str(one.message) for one in caught if one.category is ResourceWarning]


WARNING = "a stream was dropped before its turn ended; use `with`, close() or result()"


def test_a_dropped_stream_stops_its_producer() -> None:
    """A stream without references calls drop() of the producer, and emits a ResourceWarning."""
    producer = FakeProducer()
    held: list[object] = [producer.stream()]
    gone = weakref.ref(held[0])
    assert drop(held) == [WARNING]
    assert gone() is None
    assert producer.calls == [("drop",)]


def test_a_dropped_iterator_of_text_drops_the_stream() -> None:
    """Dropping an unfinished text_stream drops the stream if nothing else refers to it."""
    producer = FakeProducer()
    producer.channel.push(TextDeltaEvent(0, "a"))
    texts = producer.stream().text_stream
    assert next(texts) == "a"
    assert producer.calls == []
    held: list[object] = [texts]
    del texts
    assert drop(held) == [WARNING]
    assert producer.calls == [("drop",)]


@pytest.mark.parametrize("last", [DONE, FAILED], ids=["done", "error"])
def test_a_stream_that_has_ended_can_be_dropped_unread(last: DoneEvent | ErrorEvent) -> None:
    """Dropping the stream of an ended turn emits no warning and calls no producer."""
    producer = FakeProducer()
    held: list[object] = [producer.stream()]
    producer.channel.push(last)
    assert drop(held) == []
    assert producer.calls == []


def test_a_stream_made_by_hand_can_be_dropped() -> None:
    """Dropping a stream without a producer emits no warning."""
    assert drop([AssistantMessageEventStream()]) == []


def test_a_stream_does_not_warn_at_interpreter_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the interpreter shuts down, a finaliser neither warns nor touches the producer."""
    producer = FakeProducer()
    held: list[object] = [producer.stream()]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        assert drop(held) == []
    assert producer.calls == []


def test_dropping_takes_no_lock() -> None:
    """The finaliser completes even while a frame below it holds the stream's locks."""
    producer = FakeProducer()
    held: list[object] = [producer.stream()]
    with producer.channel.mutex:
        assert drop(held) == [WARNING]
    assert producer.calls == [("drop",)]


# Ctrl-C.


@contextlib.contextmanager
def ctrl_c(seconds: float) -> Iterator[None]:
    """Interrupt the main thread once within the block."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


WAYS: dict[str, Callable[[AssistantMessageEventStream], object]] = {
    "iterating": next,
    "text_stream": lambda stream: next(stream.text_stream),
    "result": lambda stream: stream.result(),
    "result in time": lambda stream: stream.result(LEFT),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_while_waiting_is_prompt_and_closes(way: str) -> None:
    """Ctrl-C ends every way of waiting at once and aborts the turn, as does leaving the block."""
    producer = FakeProducer()
    begun = time.monotonic()
    with ctrl_c(0.05), pytest.raises(KeyboardInterrupt), producer.stream() as stream:
        WAYS[way](stream)
    assert time.monotonic() - begun < LEFT / 2
    assert [call[0] for call in producer.calls] == ["abort", "abort", "join"]
    producer.channel.push(DONE)
    assert list(stream) == [DONE]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_while_waiting_aborts_without_a_block(way: str) -> None:
    """Ctrl-C aborts a turn outside of a `with` block, as in a notebook cell."""
    producer = FakeProducer()
    stream = producer.stream()
    with ctrl_c(0.05), pytest.raises(KeyboardInterrupt):
        WAYS[way](stream)
    assert producer.calls == [("abort", None)]
    stream.end(DONE.message)


def test_wait_returns_true_once_the_stream_has_ended() -> None:
    """wait() returns true if the stream ended in time, and raises no failure."""
    stream = AssistantMessageEventStream()
    assert stream.wait(0) is False
    assert stream.wait(0.01) is False
    stream.fail(ValueError("broken"))
    assert stream.wait() is True
    assert stream.wait(0) is True


FAILED_MESSAGE = AssistantMessage([], stop_reason="error", error_message="overloaded", timestamp=1)


def test_the_final_message_of_a_failed_turn_is_an_exception() -> None:
    """get_final_message() is the message, and raises if the provider failed."""
    stream = AssistantMessageEventStream()
    stream.push(DONE)
    assert stream.get_final_message() is DONE.message
    stream = AssistantMessageEventStream()
    stream.push(ErrorEvent("error", FAILED_MESSAGE))
    assert stream.result() is FAILED_MESSAGE
    with pytest.raises(ProviderError, match="overloaded"):
        stream.get_final_message()


@pytest.mark.parametrize("cancelled", [False, True])
def test_text_stream_raises_at_its_end_if_the_provider_failed(cancelled: bool) -> None:
    """All text is yielded first, then `ProviderError`, unless the caller has cancelled the turn."""
    producer = FakeProducer()
    producer.cancelled = cancelled
    stream = producer.stream()
    producer.channel.push(TextDeltaEvent(0, "a"))
    producer.channel.push(ErrorEvent("error", FAILED_MESSAGE))
    text = stream.text_stream
    assert next(text) == "a"
    if cancelled:
        assert list(text) == []
    else:
        with pytest.raises(ProviderError, match="overloaded"):
            next(text)


# Server-sent events.


def frames(stream: AssistantMessageEventStream) -> list[Any]:
    """Return the data of all frames, parsed, and `[DONE]` as it is."""
    data = [frame.removeprefix(b"data: ").removesuffix(b"\n\n") for frame in stream.sse()]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in data]


def test_a_stream_can_be_read_as_server_sent_events() -> None:
    """Each event is a frame with its own JSON, and `[DONE]` is the last."""
    stream = AssistantMessageEventStream()
    events = [*deltas("a\ud83d", "é\n"), DONE]
    for event in events:
        stream.push(event)
    assert frames(stream) == [*map(to_wire, events), "[DONE]"]


def test_a_failure_is_sent_as_an_error_event() -> None:
    """A failure of the client is sent as the gateway's error event, before `[DONE]`."""
    stream = AssistantMessageEventStream()
    stream.push(TextDeltaEvent(0, "a"))
    stream.fail(ValueError("broken"))
    _, failed, done = frames(stream)
    assert failed == {"type": "error", "reason": "error", "errorMessage": "broken"}
    assert done == "[DONE]"


def test_a_heartbeat_is_sent_while_there_is_no_event() -> None:
    """While the provider is silent, comments are sent, which detects a closed browser."""
    stream = AssistantMessageEventStream()
    lines = stream.sse(heartbeat=0.01)
    assert [next(lines), next(lines)] == [b": heartbeat\n\n"] * 2
    stream.push(DONE)
    assert next(lines).startswith(b"data: {")
    assert list(lines) == [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("read", [0, 1])
def test_closing_the_events_cancels_the_turn(read: int) -> None:
    """close(), which a WSGI server calls, aborts the turn, also before the first frame."""
    producer = FakeProducer()
    stream = producer.stream()
    lines: Any = stream.sse(heartbeat=0.01)
    for _ in range(read):
        next(lines)
    lines.close()
    assert [call[0] for call in producer.calls] == ["abort", "join"]
    producer.channel.push(DONE)


def test_a_stream_cannot_be_pickled() -> None:
    """Pickling raises a TypeError, as the queue and worker belong to this process."""
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(AssistantMessageEventStream())


@pytest.mark.parametrize("fresh", [False, True], ids=["for the worker", "at all"])
def test_a_thread_that_cannot_be_started_fails_the_stream(
    fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no thread can be started, the call returns a stream that raises `PiNativeError`."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    timers.timer_thread().start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    if fresh:  # the timer thread does not run yet either
        monkeypatch.setattr(timers, "_timer_thread", timers.TimerThread())
    model = Model("y", "x", base_url="http://127.0.0.1:1")
    stream = stream_pi_native(model, Context([UserMessage("hi")]))
    with pytest.raises(PiNativeError, match="no thread can be started"):
        stream.result(LEFT)
    with pytest.raises(PiNativeError, match="no thread can be started"), stream:
        stream.get_final_message()  # leaving the block joins the thread, which never ran
    with Client("http://127.0.0.1:1") as client:
        for call in (lambda: client.complete("x/y", "hi"), client.models):
            with pytest.raises(PiNativeError, match="no thread can be started"):
                call()
