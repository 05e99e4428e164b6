"""Transcripts of the real gateway, cut at every single byte: what came before it counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_native import (
    AssistantMessageEvent,
    AssistantMessageEventStream,
    Context,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    IncompleteStreamError,
    Model,
    PiNativeError,
    StreamOptions,
    UserMessage,
    stream_pi_native,
)
from pi_native._reader import EventReader

from .peer import CHUNKED, Connection, Peer, chunk

DATA = Path(__file__).parent.parent / "data"
MODEL = Model("y", "x")
DONE = b"data: [DONE]\n\n"


def frames(name: str) -> list[bytes]:
    """The frames of a transcript, without the last one, which is no event."""
    whole = (DATA / name).read_bytes()
    assert whole.endswith(DONE)
    return [part + b"\n\n" for part in whole.removesuffix(DONE).split(b"\n\n")[:-1]]


def events_of(data: bytes) -> list[AssistantMessageEvent]:
    """What is in some bytes that then end."""
    reader = EventReader(MODEL, 10**9)
    return [*reader.feed(data), *reader.finish()]


def cuts(name: str, lacking: int = 2) -> Iterator[tuple[bytes, list[AssistantMessageEvent]]]:
    """The transcript up to each of its bytes, with the events that had come by then.

    At a proper end, an event has come when its JSON has: the blank line may be missing.
    """
    whole = b"".join(frames(name)) + DONE
    ends = []
    position = 0
    for frame in frames(name):
        position += len(frame)
        ends.append(position - lacking)
    events = events_of(whole)
    assert len(events) == len(ends)
    for cut in range(len(whole)):
        yield whole[:cut], events[: sum(end <= cut for end in ends)]


@pytest.mark.parametrize("name", ["text.sse", "thinking-signed.sse", "error.sse", "empty.sse"])
def test_a_cut_anywhere_keeps_what_came_before(name: str) -> None:
    """Up to each byte, the reader gives the events that were whole, and raises nothing."""
    for data, expected in cuts(name):
        assert events_of(data) == expected, data[-60:]


class Cuts:
    """A peer that answers each request with the next of the pieces, ended properly or not."""

    def __init__(self, pieces: list[bytes], last: bytes) -> None:
        self._pieces = iter(pieces)
        self._last = last

    def __call__(self, connection: Connection) -> None:
        """Serve one connection."""
        connection.read_request()
        piece = next(self._pieces)
        connection.send(CHUNKED + (chunk(piece) if piece else b"") + self._last)
        connection.sock.shutdown(socket.SHUT_WR)


def turn(url: str) -> AssistantMessageEventStream:
    """A turn for which an early end is an error."""
    return stream_pi_native(
        Model("y", "x", base_url=url),
        Context([UserMessage("hi")]),
        StreamOptions(on_incomplete="error"),
    )


def outcome(
    stream: AssistantMessageEventStream,
) -> tuple[list[AssistantMessageEvent], PiNativeError | None]:
    """The events, and the failure behind them."""
    events: list[AssistantMessageEvent] = []
    try:
        events.extend(iter(stream))
    except PiNativeError as exc:
        return events, exc
    return events, None


@pytest.mark.parametrize(
    ("last", "lacking", "failure"),
    [(b"0\r\n\r\n", 2, IncompleteStreamError), (b"", 0, GatewayConnectionError)],
    ids=["ended", "cut"],
)
def test_a_cut_turn_ends_with_the_right_failure(
    last: bytes, lacking: int, failure: type[PiNativeError]
) -> None:
    """Over HTTP too, each byte: the events before, then the failure, with the newest snapshot."""
    tries = list(cuts("error-429.sse", lacking))
    with Peer(Cuts([data for data, _ in tries], last)) as peer:
        for data, expected in tries:
            stream = turn(peer.url)
            events, exc = outcome(stream)
            assert events == expected, data[-60:]
            if expected and isinstance(expected[-1], (DoneEvent, ErrorEvent)):
                assert exc is None
            else:
                assert type(exc) is failure
                assert exc.partial == (expected[-1].partial if expected else None)
                assert stream.truncated
