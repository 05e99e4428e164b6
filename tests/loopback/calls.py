"""Functions that make a low-level call, and read its events and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AssistantMessageEventStream,
    Context,
    Model,
    StreamOptions,
    UserMessage,
    stream_pi_native,
)

from ..conftest import threads

KEY = "key-of-the-gateway"
Turn = Callable[[str], AssistantMessageEventStream]  # made at an address


def start(
    url: str | None, *, model: Model | None = None, context: Context | None = None, **options: Any
) -> AssistantMessageEventStream:
    """Start a turn, by default for the model x/y and with the key."""
    return stream_pi_native(
        model or Model("y", "x", base_url=url),
        context or Context([UserMessage("hi")]),
        StreamOptions(**{"api_key": KEY, **options}),
    )


def outcome(stream: AssistantMessageEventStream) -> tuple[list[Any], Any]:
    """Return all events, and the result or the failure; check that both ways of reading agree."""
    events: list[Any] = []
    try:
        events.extend(stream)
    except Exception as exc:  # noqa: BLE001 - what it is, is what is tested
        failed = exc
    else:
        return events, stream.result(5)
    with pytest.raises(type(failed)) as caught:
        stream.result(5)
    assert caught.value is failed
    return events, failed


def failure(stream: AssistantMessageEventStream) -> BaseException:
    """Return the failure of a stream without events."""
    events, failed = outcome(stream)
    assert events == []
    assert isinstance(failed, BaseException)
    return failed


def types(events: list[Any]) -> list[str]:
    """Return the wire types of the events."""
    return [event.type for event in events]


def cancel(held: list[AssistantMessageEventStream], means: str) -> None:
    """Abort the stream, whose only reference is in the list, or drop it."""
    if means == "abort":
        held[0].abort()
        return
    with pytest.warns(ResourceWarning, match="dropped"):
        held.clear()


def workers() -> list[threading.Thread]:
    """Return the running worker threads of streams."""
    return [thread for thread in threads() if thread.name.startswith("pi-native-")]
