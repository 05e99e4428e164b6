"""Transcripts of the real gateway yield the same events when split or truncated."""

from __future__ import annotations

import itertools
import random
import types
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    IncompleteStreamError,
    Model,
)
from pi_native._protocol.decoder import EventDecoder
from pi_native._types import messages as _messages
from pi_native.testing import FakeGateway, Raw

from ..calls import KEY, outcome, start
from ..peer import CHUNKED, LAST_CHUNK, UNTIL_CLOSE, Connection, Peer, chunk

DATA = Path(__file__).parent.parent.parent / "data"
PATHS = sorted(DATA.glob("*.sse"))
MODEL = Model("y", "x")
BLANK_LINE = b"\n\n"
# Four transcripts are so long that a new read for every byte takes seconds.
EVERY_BYTE_UP_TO = 10_000
every_transcript = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix the time of synthetic messages."""
    monkeypatch.setattr(_messages, "time", types.SimpleNamespace(time_ns=lambda: 10**18))


def events_of(data: bytes) -> list[AssistantMessageEvent]:
    """Return the events of a body that arrives in one piece, and then ends."""
    reader = EventDecoder(MODEL, 10**9)
    return [*reader.feed(data), *reader.finish()]


def frames_of(data: bytes) -> list[bytes]:
    """Return the frames of a body."""
    return [part + BLANK_LINE for part in data.split(BLANK_LINE)[:-1]]


# Split, and complete.


def pieces(data: bytes, seed: str, count: int) -> list[bytes]:
    """Return the data in so many pieces, cut at pseudo-random but reproducible positions."""
    cuts = sorted(random.Random(seed).choices(range(len(data) + 1), k=count - 1))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def check(path: Path, url: str) -> None:
    """Check that a turn has the events of the transcript and the outcome of its last event."""
    expected = events_of(path.read_bytes())
    events, end = outcome(start(url, on_incomplete="error"))
    assert events == expected
    last = expected[-1]
    if isinstance(last, DoneEvent):
        assert end == last.message
    elif isinstance(last, ErrorEvent):
        assert end == last.error
    else:
        assert path.stem == "hung-up"
        assert type(end) is IncompleteStreamError
        assert end.partial == last.partial


@every_transcript
def test_chunks_of_any_size(path: Path) -> None:
    """HTTP chunks, and the writes that carry them, may end at any byte."""
    body = b"".join(map(chunk, filter(None, pieces(path.read_bytes(), path.stem, 20))))

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, *pieces(body + LAST_CHUNK, path.name, 20))

    with Peer(serve) as peer:
        check(path, peer.url)


@every_transcript
def test_a_body_that_ends_with_its_connection(path: Path) -> None:
    """Without chunks, each write may end at any byte; the close is the end."""

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.send(UNTIL_CLOSE, *pieces(path.read_bytes(), path.stem, 20))
        connection.close()

    with Peer(serve) as peer:
        check(path, peer.url)


@every_transcript
def test_the_fake_gateway_replays_it(path: Path) -> None:
    """The fake gateway replays a transcript, in any number of pieces."""
    with FakeGateway(KEY) as gateway:
        gateway.add(Raw(pieces(path.read_bytes(), path.stem, 10)))
        check(path, gateway.url)


@every_transcript
def test_each_byte_by_itself(path: Path) -> None:
    """At each byte, a reader has yielded exactly the events whose blank line has arrived."""
    data = path.read_bytes()
    reader, events = EventDecoder(MODEL, 10**9), list[AssistantMessageEvent]()
    whole_at = set(itertools.accumulate(map(len, frames_of(data))))
    for count in range(1, len(data) + 1):
        new = list(reader.feed(data[count - 1 : count]))
        assert len(new) <= (count in whole_at), count
        events += new
    assert list(reader.finish()) == []
    assert events == events_of(data)


# Truncated, with the events before the cut.


@pytest.mark.slow
@every_transcript
def test_a_cut_anywhere_keeps_what_came_before(path: Path) -> None:
    """A truncated frame counts from its last brace on; before, it is ignored without error.

    The reader has read the preceding frame, whose state it needs.
    """
    data = path.read_bytes()
    step = 1 + len(data) // EVERY_BYTE_UP_TO
    for before, frame in itertools.pairwise([b"", *frames_of(data)]):
        without, with_it = events_of(before), events_of(before + frame)
        whole_at = len(frame) - len(BLANK_LINE)
        for cut in [*range(0, whole_at, step), whole_at - 1]:
            assert len(events_of(before + frame[:cut])) == len(without), frame[:cut]
        for cut in range(whole_at, len(frame)):
            assert events_of(before + frame[:cut]) == with_it, frame[:cut]


def places(data: bytes) -> list[int]:
    """Return where to cut a body: around the ends of its frames, and sometimes within them."""
    ends = itertools.accumulate(map(len, frames_of(data)))
    near = {end - back for end in ends for back in range(4)}
    return sorted({*range(0, len(data), 97), *near} - {len(data)})


def came(data: bytes, cut: int, lacking: int) -> list[Any]:
    """Return the events at the cut, which may lack so many bytes of the last one."""
    ends = itertools.accumulate(map(len, frames_of(data)))
    return events_of(data)[: sum(end - lacking <= cut for end in ends)]


@pytest.fixture(scope="module")
def cut_body() -> bytes:
    """Return a body of some deltas and then a terminal event."""
    return (DATA / "error.sse").read_bytes()


@pytest.mark.parametrize("on_incomplete", ["done", "error"])
def test_a_body_that_is_cut_and_ends_well(cut_body: bytes, on_incomplete: str) -> None:
    """Received events count; without a terminal event, the setting for incomplete turns applies."""
    to_serve = iter(places(cut_body))

    def serve(connection: Connection) -> None:
        while connection.read_request():
            data = cut_body[: next(to_serve)]
            connection.send(CHUNKED + (chunk(data) if data else b"") + LAST_CHUNK)

    with Peer(serve) as peer:
        for cut in places(cut_body):
            stream = start(peer.url, on_incomplete=on_incomplete)
            events, end = outcome(stream)
            # The blank line after the last event may be missing.
            expected = came(cut_body, cut, lacking=len(BLANK_LINE))
            if expected and isinstance(expected[-1], ErrorEvent):
                assert (events, end) == (expected, expected[-1].error)
            elif on_incomplete == "done":
                empty = AssistantMessage([], api="pi-native", provider="x", model="y")
                assert events == [*expected, DoneEvent("stop", empty)]
                assert (end, stream.truncated) == (empty, True)
            else:
                assert (events, type(end)) == (expected, IncompleteStreamError)
                assert end.partial == (expected[-1].partial if expected else None)
                assert stream.truncated


@pytest.mark.parametrize("on_incomplete", ["done", "error"])
def test_a_body_that_is_cut_off(cut_body: bytes, on_incomplete: str) -> None:
    """Without its last chunk a response is truncated, whatever the setting for incomplete turns."""
    to_serve = iter(places(cut_body))

    def serve(connection: Connection) -> None:
        connection.read_request()
        data = cut_body[: next(to_serve)]
        connection.send(CHUNKED + (chunk(data) if data else b""))
        connection.close()

    with Peer(serve) as peer:
        for cut in places(cut_body):
            stream = start(peer.url, on_incomplete=on_incomplete)
            events, end = outcome(stream)
            expected = came(cut_body, cut, lacking=0)
            if expected and isinstance(expected[-1], ErrorEvent):
                assert (events, end) == (expected, expected[-1].error)
            else:
                assert (events, type(end)) == (expected, GatewayConnectionError)
                assert end.partial == (expected[-1].partial if expected else None)
                assert (end.phase, stream.truncated) == ("body", True)
