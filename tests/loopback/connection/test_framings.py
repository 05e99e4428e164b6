"""Whole answers, cut into pieces and framed in every way: the same events."""

from __future__ import annotations

from typing import Any

import pytest

from pi_native import DoneEvent, StartEvent
from pi_native.testing import FakeGateway, Slow, Stall

from ..calls import KEY, outcome, start, types
from ..frames import DELTA, FINISHED, START, frame

WHOLE = frame(START) + frame(DELTA) + frame({"type": "newer", "a": "ü"}) + frame(FINISHED)
WHOLE += frame("[DONE]")


def in_lines(ending: bytes) -> bytes:
    """Return the whole response, with other line ends."""
    return WHOLE.replace(b"\n", ending)


FRAMINGS: dict[str, list[bytes]] = {
    "one piece": [WHOLE],
    "byte by byte": [WHOLE[i : i + 1] for i in range(len(WHOLE))],
    "seven bytes": [WHOLE[i : i + 7] for i in range(0, len(WHOLE), 7)],
    "CRLF": [in_lines(b"\r\n")],
    "CRLF, byte by byte": [in_lines(b"\r\n")[i : i + 1] for i in range(len(in_lines(b"\r\n")))],
    "CR": [in_lines(b"\r")],
    "CR, byte by byte": [in_lines(b"\r")[i : i + 1] for i in range(len(WHOLE))],
    "LF CR LF": [WHOLE.replace(b"\n\n", b"\n\r\n")],
    "comments": [
        b": hi\n\n:\n" + WHOLE.replace(b"\n\n", b"\n: in between\n\n:\n\n:keep-alive\n\n")
    ],
    "a BOM": [b"\xef\xbb\xbf" + WHOLE],
    "a BOM in pieces": [b"\xef", b"\xbb", b"\xbf", WHOLE],
    "no space": [WHOLE.replace(b"data: ", b"data:")],
    "unknown fields": [WHOLE.replace(b"data: ", b"event: e\nfoo: bar\nid\ndata: ")],
    "empty data": [b"data:\n\ndata\n\n" + WHOLE.replace(b"\n\n", b"\n\ndata: \n\n")],
    "blank lines": [b"\n\n\n" + WHOLE.replace(b"\n\n", b"\n\n\n\n\n")],
    "several data lines": [WHOLE.replace(b', "contentIndex"', b',\ndata: "contentIndex"')],
}


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("pieces", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_every_framing_gives_the_same_events(
    gateway: FakeGateway, pieces: list[bytes], framing: Any
) -> None:
    """However the bytes are cut and framed, the events are the same ones."""
    gateway.raw(pieces, framing=framing)
    events, message = outcome(start(gateway.url))
    assert types(events) == ["start", "text_delta", "newer", "done"]
    assert isinstance(events[0], StartEvent)
    assert (events[1].delta, events[1].partial.text) == ("Hello", "Hello")
    assert events[2].data == {"type": "newer", "a": "ü"}
    assert isinstance(events[3], DoneEvent)
    assert message.text == "Hello"


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_each_event_is_handed_over_as_it_comes(framing: Any) -> None:
    """An event is there while the gateway holds the next one back, however small it is."""
    small = frame({"type": "a"})
    with FakeGateway(KEY) as gateway:
        gateway.raw(
            [small, small, frame(FINISHED)],
            framing=framing,
            fault=[Stall(after=1), Slow(0.0, after=1)],
        )
        stream = start(gateway.url)
        assert next(stream).type == "a"
        assert not stream.done
        gateway.release()
        assert types(list(stream)) == ["a", "done"]


def test_bytes_that_are_no_utf8_become_replacement_characters(gateway: FakeGateway) -> None:
    """A broken byte spoils one character and not the stream."""
    gateway.raw([b'data: {"type":"newer","a":"caf\xe9 \xf0\x9f"}\n\n', frame(FINISHED)])
    events, _ = outcome(start(gateway.url))
    assert events[0].data == {"type": "newer", "a": "caf\ufffd \ufffd"}
