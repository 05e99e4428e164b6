"""A turn in other forms: as text in whole characters, and as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from .._protocol.convert import to_wire
from .._threads.channel import Channel
from ..errors import AbortError

_HEARTBEAT = b": heartbeat\n\n"
_DONE = b"data: [DONE]\n\n"


def whole_characters(pieces: Iterable[str]) -> Iterator[str]:
    """Join surrogate pairs that were cut between pieces; replace half a pair by U+FFFD."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        if whole := _without_surrogates(text[: len(text) - len(held)]):
            yield whole
    if held:
        yield "\ufffd"


def _without_surrogates(text: str) -> str:
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def frames_of(
    turn: AbstractContextManager[Any], channel: Channel[Any, Any], heartbeat: float | None
) -> Iterator[bytes]:
    """Return the server-sent events of a turn; closing the iterator exits the turn's context."""
    frames = _frames(turn, channel, heartbeat)
    next(frames)  # enters the context, so that closing an unread iterator exits it
    return frames


def _frames(
    turn: AbstractContextManager[Any], channel: Channel[Any, Any], heartbeat: float | None
) -> Iterator[bytes]:
    with turn:
        yield b""
        while True:
            if not channel.wait_next(heartbeat):
                yield _HEARTBEAT
                continue
            try:
                frame = _frame(to_wire(channel.next()))
            except StopIteration:
                break
            except Exception as exc:  # noqa: BLE001 - the browser must receive the failure
                yield _frame(_failure(exc))
                break
            yield frame
        yield _DONE


def _frame(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(event, separators=(",", ":")).encode()


def _failure(exc: Exception) -> dict[str, Any]:
    reason = "aborted" if isinstance(exc, AbortError) else "error"
    return {"type": "error", "reason": reason, "errorMessage": str(exc)}
