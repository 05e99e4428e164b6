"""`text_stream` yields only the text, as it arrives."""

from __future__ import annotations

import gc

import pytest

from pi_native import GatewayConnectionError, TextDeltaEvent, ToolCall
from pi_native.testing import FakeGateway, HangUp, Stall

from ..calls import start


def test_reading_the_text_keeps_the_stream_alive(gateway: FakeGateway) -> None:
    """A loop over `text_stream` is enough to keep a stream alive."""
    gateway.reply(["a", "b", "c"])
    pieces = []
    for piece in start(gateway.url).text_stream:
        gc.collect()
        pieces.append(piece)
    assert pieces == ["a", "b", "c"]


def test_text_stream_is_the_text_alone(gateway: FakeGateway) -> None:
    """Thinking, tool calls and markers are left out, and text is in the pieces that arrived."""
    gateway.reply(
        ["Hel", "lo ", ""], thinking="hmm", tool_calls=[ToolCall("c", "tool", {"text": "no"})]
    )
    stream = start(gateway.url)
    assert list(stream.text_stream) == ["Hel", "lo "]
    assert stream.result().stop_reason == "toolUse"


def test_text_stream_comes_while_the_answer_runs(gateway: FakeGateway) -> None:
    """A piece is yielded before the next one is sent."""
    gateway.reply(["a", "b"], fault=Stall(after=3))
    stream = start(gateway.url)
    text = stream.text_stream
    assert next(text) == "a"
    gateway.release()
    assert next(text) == "b"
    assert next(text, None) is None


def test_text_stream_raises_the_failure_after_the_text(gateway: FakeGateway) -> None:
    """The partial text is yielded first, then the exception is raised."""
    gateway.reply(["a", "b"], fault=HangUp(after=3))
    text = start(gateway.url).text_stream
    assert next(text) == "a"
    with pytest.raises(GatewayConnectionError):
        next(text)


def test_text_stream_puts_half_characters_together(gateway: FakeGateway) -> None:
    """A split surrogate pair becomes one character, half a pair U+FFFD; events keep halves."""
    gateway.reply(["a\ud83d", "\ude00b", "\ud83d"]).reply(["a\ud83d", "\ude00b", "\ud83d"])
    assert list(start(gateway.url).text_stream) == ["a", "\U0001f600b", "\ufffd"]
    deltas = [e.delta for e in start(gateway.url) if isinstance(e, TextDeltaEvent)]
    assert deltas == ["a\ud83d", "\ude00b", "\ud83d"]
