"""The fast way and the safe way read the same events, and the fast one does little work."""

from __future__ import annotations

import itertools
import json
import pickle
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings, strategies as st

from benchmarks import wires
from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    Model,
    PiNativeError,
    SseEvent,
    TextDeltaEvent,
    ToolCallDeltaEvent,
    UnknownEvent,
    from_wire,
    to_wire,
)
from pi_native._protocol import (
    chunked as _chunks,
    decoder as _reader,
    rules as _protocol,
    snapshots as _snapshots,
)
from pi_native._protocol.chunked import Body
from pi_native._protocol.decoder import EventDecoder
from pi_native._protocol.snapshots import (
    AppendOnlyBytes,
    RawSnapshot,
    SharedSnapshot,
    read_snapshot,
    shared_snapshot,
)
from pi_native._protocol.sse import BlockCutter

from ...repetitions import repetitions

MODEL = Model("y", "x")
TRANSCRIPTS = sorted((Path(__file__).parent.parent.parent / "data").glob("*.sse"))


class SafeReader(EventDecoder):
    """Reads everything the safe way."""

    def _read_delta(self, *_: Any, **__: Any) -> None:
        return None


def read(
    reader: EventDecoder, pieces: list[bytes]
) -> tuple[list[AssistantMessageEvent], PiNativeError | None]:
    """Return the events, and what ended them if that was a failure."""
    events: list[AssistantMessageEvent] = []
    try:
        for piece in pieces:
            events.extend(reader.feed(piece))
        events.extend(reader.finish())
    except PiNativeError as exc:
        return events, exc
    return events, None


def exact(event: AssistantMessageEvent) -> str:
    """Return an event with its snapshot as text, so that 0 and 0.0, or 1 and True, differ."""
    try:
        text = json.dumps(to_wire(event), sort_keys=True)
    except PiNativeError as exc:
        return repr(exc)
    # A synthetic message has the time of its creation.
    return re.sub(r'("timestamp": )\d+', r"\1?", text) if event.type == "error" else text


class ChunkedReader(EventDecoder):
    """Is given each piece as two chunks of HTTP, which stay where they are; LF ends their lines."""

    def feed(self, data: bytes, *_: object) -> Iterator[AssistantMessageEvent]:
        """Return the events that `data` completes."""
        middle = (len(data) + 1) // 2
        chunks = [part for part in (data[:middle], data[middle:]) if part]
        framed = b"".join(b"%x\n%b\n" % (len(part), part) for part in chunks)
        with mock.patch.object(_chunks, "_WORTH_A_LOOK", 0):
            body = Body(chunked=True)
            body.feed(framed)
        assert len(body.spans) == len(chunks)
        return super().feed(body.data, body.spans)


def check_both(pieces: list[bytes]) -> list[AssistantMessageEvent]:
    """Read both ways, compare, and return the events."""
    safe, safe_failure = read(SafeReader(MODEL, 10**9), [b"".join(pieces)])
    for fast_reader in (EventDecoder(MODEL, 10**9), ChunkedReader(MODEL, 10**9)):
        fast, fast_failure = read(fast_reader, pieces)
        assert [exact(event) for event in fast] == [exact(event) for event in safe]
        assert [type(event) for event in fast] == [type(event) for event in safe]
        assert repr(fast_failure) == repr(safe_failure)
    return fast


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data in pieces."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(min_value=0), max_size=20)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@settings(max_examples=repetitions(20, 4))
@given(cuts=CUTS, end=ENDS)
def test_both_ways_agree_on_every_transcript(path: Path, cuts: list[int], end: bytes) -> None:
    """A recorded stream gives the same events with any line ends and splits."""
    events = check_both(split_at(path.read_bytes().replace(b"\n", end), cuts))
    assert events or path.stem == "empty"


# Deltas with everything that JSON escapes, and halves of surrogate pairs.
TEXT = st.text(st.characters(codec=None), max_size=6) | st.sampled_from(
    ["", '"', "\\", "\n", '\\"', "}", '"partial":{', ",", "\ud83d", "\ude00", "é", "\u2028", "\x7f"]
)
KINDS = ("text", "thinking", "toolcall")


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Return a stream of deltas, mostly in the form of the gateway, sometimes malformed."""
    frames: list[bytes] = []
    content: list[dict[str, Any]] = []
    usage = {"input": 0}
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(KINDS))
        content.append(draw_block(draw, kind))
        for _ in range(draw(st.integers(0, 8))):
            delta = draw(TEXT)
            grow(draw, content[-1], kind, delta)
            if draw(st.integers(0, 9)) == 0:
                usage = {"input": draw(st.integers(0, 9999))}
            event = {
                "type": f"{kind}_delta",
                "contentIndex": len(content) - 1,
                "delta": delta,
                "partial": {"role": "assistant", "content": content, "usage": usage},
            }
            frames.append(draw_frame(draw, event))
    return b"".join(frames)


def draw_block(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Return an empty block; a tool call's members come in either order."""
    if kind != "toolcall":
        return {"type": kind, kind: ""}
    block = {"type": "toolCall", "id": "1", "name": "n", "arguments": {"a": ""}, "partialArgs": ""}
    return dict(reversed(block.items())) if draw(st.booleans()) else block


def grow(draw: st.DrawFn, block: dict[str, Any], kind: str, delta: str) -> None:
    """Add a delta to a block, as text and, for a tool call, now and then as arguments too."""
    member = "partialArgs" if kind == "toolcall" else kind
    block[member] += delta
    if kind == "toolcall" and draw(st.integers(0, 2)):
        block["arguments"]["a"] = draw(st.sampled_from([block["partialArgs"], "x", "}]"]))


def draw_frame(draw: st.DrawFn, event: dict[str, Any]) -> bytes:
    """Return an event as the gateway writes it, or with one of many things changed."""
    change = draw(st.integers(0, 30))
    ascii_only = change == 1
    if change == 2:
        event["more"] = draw(st.sampled_from([1, {}, {"partial": {}}]))
    if change == 3:
        event["delta"] = draw(st.sampled_from([None, 7, "other"]))
    if change == 4:
        event = dict(reversed(event.items()))
    separators = (", ", ": ") if change == 5 else (",", ":")
    text = json.dumps(event, ensure_ascii=ascii_only, separators=separators)
    data = text.encode("utf-8", "backslashreplace" if change == 6 else "surrogatepass")
    if change == 7:
        data = data[:-1] + b',"partial":{"role":"assistant"}}'
    if change == 8:
        cut = draw(st.integers(0, len(data)))
        data = data[:cut] + draw(st.binary(max_size=3)) + data[cut:]
    if change == 9:
        cut = draw(st.integers(0, len(data)))
        data = data[:cut] + data[cut + 1 :]
    prefix = (
        draw(st.sampled_from([b"event: x\n", b": hi\n", b"\n", b"data:"])) if change == 10 else b""
    )
    return prefix + b"data: " + data + b"\n\n"


@pytest.mark.slow
@settings(max_examples=300)
@given(stream=streams(), cuts=CUTS, end=ENDS)
def test_both_ways_agree_on_malformed_streams(stream: bytes, cuts: list[int], end: bytes) -> None:
    """Same events, same snapshots, same failure at the same point, for any deltas and splits."""
    check_both(split_at(stream.replace(b"\n", end), cuts))


@pytest.mark.slow
@settings(max_examples=100)
@given(stream=streams(), data=st.data())
def test_both_ways_agree_on_a_stream_that_is_cut(stream: bytes, data: st.DataObject) -> None:
    """Cut anywhere, a stream gives the events before the cut, and what is left counts the same."""
    check_both([stream[: data.draw(st.integers(0, len(stream)))]])


# With what JSON escapes, and what it might.
WORDS = 'the |light |of |day |is |"Über" |🌍\n|it\\ '
WireObject = Callable[[int], Iterator[bytes]]
WIRES: dict[str, WireObject] = {
    "text": lambda count: wires.text(count, 1, WORDS),
    "tool call": lambda count: wires.tool_call(count, 1, WORDS),
    "text at once": lambda count: wires.text(count, count, WORDS),
    "tool call by fives": lambda count: wires.tool_call(count, 5, WORDS),
}
every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())


def events_of(wire: Iterator[bytes]) -> Iterator[AssistantMessageEvent]:
    """Return the events of a turn."""
    yield from EventDecoder(MODEL, 10**9).feed(b"".join(wire))


class Work:
    """Counts what a turn costs: bytes cut out, characters parsed, blocks given to sseclient."""

    def __init__(self) -> None:
        self.cut = 0
        self.parsed = 0
        self.blocks = 0

    def measure(self, turn: Iterator[AssistantMessageEvent]) -> list[AssistantMessageEvent]:
        """Read the turn, counting."""

        def counting(function: Any) -> Any:
            def count(text: str) -> Any:
                self.parsed += len(text)
                return function(text)

            return count

        def counting_block(block: bytes) -> SseEvent | None:
            self.blocks += 1
            return parse_block(block)

        def counting_cut(cutter: BlockCutter) -> bytes | None:
            block = cut(cutter)
            self.cut += len(block or b"")
            return block

        parse_block, cut = _reader.parse_block, BlockCutter.next
        with (
            mock.patch.object(BlockCutter, "next", counting_cut),
            mock.patch.object(_reader, "parse_string", counting(_reader.parse_string)),
            mock.patch.object(_protocol, "parse_json", counting(_protocol.parse_json)),
            mock.patch.object(_snapshots, "parse_object", counting(_snapshots.parse_object)),
            mock.patch.object(_reader, "parse_block", counting_block),
        ):
            return list(turn)


@every_wire
def test_twice_as_many_deltas_cost_twice_the_work(wire: WireObject) -> None:
    """The bytes that are copied and parsed grow with the message, not with the wire.

    And no delta goes to sseclient.
    """
    short, long = Work(), Work()
    short.measure(events_of(wire(400)))
    events = long.measure(events_of(wire(800)))
    size = len(b"".join(wires.text(800, 1, WORDS)))
    assert len(events) > 800
    assert long.parsed < 2.2 * short.parsed
    assert long.parsed < size / 20
    assert long.cut < 2.2 * short.cut
    assert long.cut < size / 20
    assert long.blocks == short.blocks < 10


@every_wire
def test_twice_as_many_deltas_keep_twice_the_bytes(wire: WireObject) -> None:
    """The snapshots of a turn share one text, which is no longer than the last of them."""

    def kept(count: int) -> int:
        deltas = [
            event._partial
            for event in events_of(wire(count))
            if isinstance(event, (TextDeltaEvent, ToolCallDeltaEvent))
        ]
        shared = [s for s in deltas if isinstance(s, SharedSnapshot)]
        parts = {id(part): part for s in shared for part in (s._first, s._second) if part}
        texts = {id(s._text): s._text for s in deltas if type(s) is RawSnapshot}
        assert len(texts) <= 2
        assert len({id(s._first) for s in shared}) <= 2
        each = sum(map(sys.getsizeof, deltas))
        grown = sum(len(part.whole) for part in parts.values())
        return each + grown + sum(map(len, texts.values()))

    assert kept(800) < 2.2 * kept(400)
    assert kept(800) < 800 * 150


@every_wire
def test_every_event_has_its_own_snapshot_verbatim(wire: WireObject) -> None:
    """Asked for after the turn, each snapshot is the one that came with its event."""
    sent = [json.loads(frame[6:]) for frame in wire(60) if frame != wires.DONE]
    events = list(events_of(wire(60)))
    assert len(sent) == len(events)
    for event, data in zip(events, sent, strict=True):
        assert to_wire(event) == data
        if "partial" in data:
            assert event.partial == from_wire(data["partial"], AssistantMessage)


def test_a_set_aside_snapshot_can_be_pickled() -> None:
    """An event that was not asked for its snapshot takes it along as text."""
    for event in events_of(wires.text(20)):
        copy = pickle.loads(pickle.dumps(event))
        assert copy == event
        assert copy.partial == event.partial


def test_an_observed_stream_sees_every_frame_and_costs_no_more_memory() -> None:
    """An observer gets each frame in full, and the snapshots are set aside all the same."""
    seen: list[SseEvent] = []
    reader = EventDecoder(MODEL, 10**9, seen.append)
    events = list(reader.feed(b"".join(wires.text(30))))
    assert len(seen) == len(events) + 1
    assert seen[-1].data == "[DONE]"
    assert isinstance(events[20]._partial, RawSnapshot)
    assert json.loads(seen[20].data) == to_wire(events[20])


def test_events_after_the_end_are_observed_and_ignored() -> None:
    """Neither a second message nor nonsense counts behind [DONE]."""
    seen: list[SseEvent] = []
    reader = EventDecoder(MODEL, 10**9, seen.append)
    tail = b'data: {"type":"text_delta","contentIndex":0,"delta":"x","partial":{}}\n\ndata: {{\n\n'
    assert list(reader.feed(b"data: [DONE]\n\n" + tail)) == []
    assert reader.closed
    assert len(seen) == 3


def test_nothing_after_the_end_is_parsed_without_an_observer() -> None:
    """Without an observer, what follows [DONE] costs no more than finding its line ends."""
    work = Work()
    reader = EventDecoder(MODEL, 10**9)
    assert work.measure(reader.feed(b"data: [DONE]\n\n" + b": x\n\ndata: {}\n\n" * 100)) == []
    assert work.measure(reader.feed(b"data: {}\n\n" * 100)) == []
    assert work.blocks == 1


def test_an_unknown_event_is_handed_on_as_it_came() -> None:
    """An event of a newer gateway keeps its data."""
    [event] = EventDecoder(MODEL, 10**9).feed(b'data: {"type":"inference_admission","a":1}\n\n')
    assert isinstance(event, UnknownEvent)
    assert event.data == {"type": "inference_admission", "a": 1}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (b'{"a":"x"}', b'{"a":"x"}'),  # nothing is new: nothing can be learned
        (b'{"a":["x"]}', b'{"a":[1,"x"]}'),  # before a string, not in it
        (b'{"a":1}', b'{"a":12}'),  # not a string at all
        (b'{"a":"x","b":1}', b'{"a":"xy","b":2}'),  # another member changed as well
        (b'{"a":"x","b":"y"}', b'{"a":"xx","c":"yz"}'),  # a second string, under another name
        (b'{"a":"x","b":"y"}', b'{"a":"xx","b":"yz","c":"d"}'),  # and a new member
        (b'{"a":"\\""}', b'{"a":"\\"","b":""}'),  # a new member
        (b'{"a":"\\u0041"}', b'{"a":"\\u09041"}'),  # within an escape
    ],
)
def test_what_is_more_than_a_grown_string_is_no_trail(before: bytes, now: bytes) -> None:
    """Only additions at the ends of strings are gone along with."""
    assert shared_snapshot(before, now) is None


def test_two_strings_that_grow_are_a_trail() -> None:
    """A tool call's arguments and their text grow in the same event, each by its own."""
    before = b'{"arguments":{"a":"x"},"partialArgs":"{\\"a\\":\\"x","i":0}'
    now = b'{"arguments":{"a":"x\\ny"},"partialArgs":"{\\"a\\":\\"x\\\\ny","i":0}'
    snapshot = shared_snapshot(before, now)
    assert snapshot is not None
    assert snapshot.text() == now


def test_a_snapshot_that_is_not_the_last_member_is_not_set_aside() -> None:
    """A block with members after its snapshot is read in the safe way."""
    message = b'{"role":"assistant"}'
    for end in (b',"delta":"other"}\n\n', b"", b"]\n\n"):
        assert read_snapshot(None, message + end, 0) is None
        assert RawSnapshot(message).follow(message + end, 0, 99, b"x") is None


EVENT = '{"type":"toolcall_delta","contentIndex":0,"delta":"%s","partial":'
SNAPSHOT = '{"content":[{"type":"toolCall","arguments":{"a":"%s"},"partialArgs":"%s"}]}}'


def tool_frame(delta: str, arguments: str, text: str) -> bytes:
    """Return a tool call's delta, its parts as they stand on the wire."""
    return f"data: {EVENT % delta}{SNAPSHOT % (arguments, text)}\n\n".encode()


@pytest.mark.parametrize(
    "malformed",
    [
        # Each of these continues the buffer, and then differs.
        tool_frame("d", 'abc"}}],"x":[{"y":{"z":"', "abcd"),
        tool_frame("d", 'abc"},"partialArgs":"abcd"}]},"delta":"q","z":[[{"y":{"b":"', "abcd"),
        tool_frame("ddddddd", "abcd", 'abc","b":"'),
        tool_frame("d", "abc\\", "abcd"),
        tool_frame("d", "abc\x01", "abcd"),
        tool_frame("d", "abcd", "abcd")[:-3] + b',"delta":"q"}\n\n',
        tool_frame("d", "abcd", "abcd")[:-3] + b"]\n\n",
    ],
)
def test_a_snapshot_that_only_seems_to_continue_is_read_the_safe_way(malformed: bytes) -> None:
    """Quotes, escapes and members in what was added are not taken for more of a string."""
    trail = tool_frame("b", "ab", "ab") + tool_frame("c", "abc", "abc")
    events = check_both([tool_frame("a", "a", "a") + trail + malformed])
    assert isinstance(events[2]._partial, (SharedSnapshot, AssistantMessage))


def test_a_buffer_is_read_while_it_grows() -> None:
    """A prefix of a published length is the same in every thread, however the buffer grows."""
    text = bytes(range(256)) * 400
    buffer = AppendOnlyBytes(text[:1])
    published: queue.SimpleQueue[int] = queue.SimpleQueue()
    wrong: list[int] = []

    def read() -> None:
        lengths = [1]
        while (length := published.get()) >= 0:
            lengths.append(length)
            for known in (length, lengths[len(lengths) // 2], 1):
                if buffer.prefix(known) != text[:known]:
                    wrong.append(known)
        published.put(-1)  # for the other readers

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(1, len(text), 37):
        length = buffer.append(text[start : start + 37])
        published.put(length)
    published.put(-1)
    for reader in readers:
        reader.join()
    assert wrong == []
    assert buffer.prefix(len(text)) == text
    assert buffer.whole == text
