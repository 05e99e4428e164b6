"""Transcripts of the real gateway, split anywhere on their way: the same events as in one piece."""

from __future__ import annotations

import random
import types
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    Context,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    IncompleteStreamError,
    Model,
    PiNativeError,
    StreamOptions,
    UserMessage,
    _messages,
    stream_pi_native,
)
from pi_native._reader import EventReader
from pi_native.testing import FakeGateway, Raw

from .peer import CHUNKED, UNTIL_CLOSE, Connection, Peer, chunk

PATHS = sorted((Path(__file__).parent.parent / "data").glob("*.sse"))
MODEL = Model("y", "x")
LAST_CHUNK = b"0\r\n\r\n"
every_transcript = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that stands in for one that never came is always made at the same time."""
    monkeypatch.setattr(_messages, "time", types.SimpleNamespace(time_ns=lambda: 10**18))


def whole(data: bytes) -> list[AssistantMessageEvent]:
    """The events of a body that comes in one piece."""
    reader = EventReader(MODEL, 10**9)
    return [*reader.feed(data), *reader.finish()]


def pieces(data: bytes, seed: str, count: int) -> list[bytes]:
    """The data in so many pieces, cut at places that look random and are the same every time."""
    cuts = sorted(random.Random(seed).choices(range(len(data) + 1), k=count - 1))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def outcome(
    url: str, on_incomplete: Any = "error"
) -> tuple[list[AssistantMessageEvent], AssistantMessage | None, PiNativeError | None]:
    """A turn's events, and its result or its failure."""
    stream = stream_pi_native(
        Model("y", "x", base_url=url),
        Context([UserMessage("hi")]),
        StreamOptions(api_key="fake-gateway-key", on_incomplete=on_incomplete),
    )
    events: list[AssistantMessageEvent] = []
    try:
        events.extend(stream)
        return events, stream.result(5), None
    except PiNativeError as exc:
        return events, None, exc


def check(path: Path, url: str) -> None:
    """A turn has the events of the transcript, and ends as its last event says."""
    expected = whole(path.read_bytes())
    events, result, failure = outcome(url)
    assert events == expected
    last = expected[-1] if expected else None
    if isinstance(last, DoneEvent):
        assert (result, failure) == (last.message, None)
    elif isinstance(last, ErrorEvent):
        assert (result, failure) == (last.error, None)
    else:
        assert path.stem == "hung-up"
        assert type(failure) is IncompleteStreamError
        assert last is not None
        assert failure.partial == last.partial


@every_transcript
def test_chunks_of_any_size(path: Path) -> None:
    """HTTP's chunks, and the writes that they come in, may end in the middle of anything."""
    body = b"".join(map(chunk, filter(None, pieces(path.read_bytes(), path.stem, 20))))

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, *pieces(body + LAST_CHUNK, path.name, 20))

    with Peer(serve) as peer:
        check(path, peer.url)


@every_transcript
def test_a_body_that_ends_with_its_connection(path: Path) -> None:
    """Without chunks, each write may end in the middle of anything; the close is the end."""

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.send(UNTIL_CLOSE, *pieces(path.read_bytes(), path.stem, 20))
        connection.sock.close()

    with Peer(serve) as peer:
        check(path, peer.url)


@every_transcript
def test_the_fake_gateway_tells_it_again(path: Path) -> None:
    """The fake gateway sends a transcript on as it is, in whatever pieces."""
    with FakeGateway("fake-gateway-key") as gateway:
        gateway.add(Raw(pieces(path.read_bytes(), path.stem, 10)))
        check(path, gateway.url)


def came(data: bytes, cut: int, events: list[AssistantMessageEvent]) -> list[Any]:
    """Of all events, those that were there, up to their last brace, before the cut."""
    ends, end = [], 0
    for part in data.split(b"\n\n")[: len(events)]:
        end += len(part)
        ends.append(end)
        end += 2
    return events[: sum(end <= cut for end in ends)]


@every_transcript
def test_a_cut_keeps_what_came_before(path: Path) -> None:
    """Up to a hundred places of each transcript, the reader gives the events before, no others."""
    data = path.read_bytes()
    events = whole(data)
    for cut in random.Random(path.stem).sample(range(len(data)), k=min(len(data), 100)):
        reader = EventReader(MODEL, 10**9)
        assert [*reader.feed(data[:cut]), *reader.finish()] == came(data, cut, events), cut


@pytest.mark.parametrize("on_incomplete", ["done", "error"])
def test_a_cut_between_two_chunks_is_no_clean_end(on_incomplete: str) -> None:
    """Without its last chunk an answer is cut short, whatever an early end is said to be."""
    data = next(path for path in PATHS if path.stem == "thinking-signed").read_bytes()
    first = data[: data.index(b"\n\n", data.index(b"_delta")) + 2]

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED + chunk(first))
        connection.sock.close()

    with Peer(serve) as peer:
        events, result, failure = outcome(peer.url, on_incomplete)
    assert events == whole(first)
    assert result is None
    assert type(failure) is GatewayConnectionError
    assert failure.phase == "body"
    assert failure.partial == events[-1].partial


def test_a_clean_cut_may_be_a_done() -> None:
    """Cut anywhere and ended properly, a turn is what came, and a done without content."""
    data = next(path for path in PATHS if path.stem == "error-500").read_bytes()
    events = whole(data)
    last = data.rindex(b"data: {") + 20  # in the middle of the event that would have ended it
    first = data.index(b"\n\n")  # which an event may lack at the end
    cuts = [*range(0, last, 37), first - 1, first, first + 1, last]
    sizes = iter(cuts)

    def serve(connection: Connection) -> None:
        while connection.read_request():
            size = next(sizes)
            connection.send(CHUNKED + (chunk(data[:size]) if size else b"") + LAST_CHUNK)

    with Peer(serve) as peer:
        for cut in cuts:
            told, result, failure = outcome(peer.url, "done")
            assert failure is None
            assert told[:-1] == came(data, cut, events)
            assert told[-1] == DoneEvent(
                "stop", AssistantMessage([], api="pi-native", provider="x", model="y")
            )
            assert result is not None
            assert (result.content, result.stop_reason) == ([], "stop")
