"""The kinds of turns of a soak, each with its expected endings."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pi_native import (
    AbortController,
    AssistantMessage,
    AssistantMessageEventStream,
    Client,
    PiNativeError,
)

from .soak_gateway import LONG, TEXT

LONGEST = 30.0  # seconds that a turn may take
NO_OUTCOME = "no outcome"
_SHORT_MS = 100


class BrokenError(Exception):
    """A promise was broken."""


@dataclass
class Ledger:
    """The results of all turns; any thread may add one."""

    outcomes: dict[str, collections.Counter[str]] = field(default_factory=dict)
    slowest: collections.Counter[str] = field(default_factory=collections.Counter)
    requests: collections.Counter[str] = field(default_factory=collections.Counter)
    problems: list[str] = field(default_factory=list)
    turns: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, kind: Kind, outcome: str, seconds: float, requests: int) -> None:
        """Record a turn."""
        with self._lock:
            self.turns += 1
            self.outcomes.setdefault(kind.name, collections.Counter())[outcome] += 1
            self.slowest[kind.name] = max(self.slowest[kind.name], seconds)
            self.requests[kind.name] += requests
        if outcome not in kind.allowed:
            self.complain(f"a turn that is {kind.name!r} ended as {outcome!r}")

    def complain(self, problem: str) -> None:
        """Record a broken promise."""
        with self._lock:
            self.problems.append(problem)


@dataclass(frozen=True)
class Kind:
    """A kind of turn. `play` makes it, and returns its ending and its number of attempts."""

    name: str
    play: Callable[[Client, str], tuple[str, int]]
    allowed: tuple[str, ...]
    weight: int = 2

    def run(self, client: Client, prompt: str, ledger: Ledger) -> None:
        """Make one turn of this kind."""
        began = time.monotonic()
        try:
            outcome, requests = self.play(client, prompt)
        except Exception as exc:  # noqa: BLE001 - whatever it is, a turn must not end this way
            ledger.complain(f"a turn that is {self.name!r}: {exc!r}")
            outcome, requests = type(exc).__name__, 0
        ledger.enter(self, outcome, time.monotonic() - began, requests)


def _outcome(stream: AssistantMessageEventStream, content: str | None = None) -> tuple[str, int]:
    """Return the ending of a stream and its number of attempts; check that both are stable."""
    first, again = _ending(stream), _ending(stream)
    _insist(first is again or type(first) is TimeoutError, "two outcomes")
    if isinstance(first, AssistantMessage):
        _insist(content is None or first.text == content, f"another text: {first.text!r}")
        return str(first.stop_reason), stream.attempts
    return NO_OUTCOME if type(first) is TimeoutError else type(first).__name__, stream.attempts


def _ending(stream: AssistantMessageEventStream) -> AssistantMessage | Exception:
    try:
        return stream.result(LONGEST)
    except (PiNativeError, TimeoutError) as exc:
        return exc


def _insist(holds: object, what: str) -> None:
    if not holds:
        raise BrokenError(what)


def _read(model: str, text: str | None = None) -> Callable[[Client, str], tuple[str, int]]:
    """Iterate over all the events."""

    def play(client: Client, prompt: str) -> tuple[str, int]:
        stream = client.stream(f"soak/{model}", prompt)
        events = []
        try:
            events.extend(stream)
        except PiNativeError as exc:
            _insist(exc is _ending(stream), "iterating and result() differ")
        _insist(not _again(stream), "an event after the end")
        return _outcome(stream, text)

    return play


def _again(stream: AssistantMessageEventStream) -> list[object]:
    """Return the events of a second iteration of an ended stream."""
    try:
        return list(stream)
    except PiNativeError:
        return []


def _text(client: Client, prompt: str) -> tuple[str, int]:
    with client.stream("soak/long", prompt) as stream:
        _insist("".join(stream.text_stream) == LONG, "another text")
        return _outcome(stream, LONG)


def _result(client: Client, prompt: str) -> tuple[str, int]:
    return _outcome(client.stream("soak/whole", prompt), TEXT)


def _cut(model: str) -> Callable[[Client, str], tuple[str, int]]:
    def play(client: Client, prompt: str) -> tuple[str, int]:
        stream = client.stream(f"soak/{model}", prompt)
        ending = _outcome(stream)
        _insist(stream.attempts == 1, "sent again although content had come")
        _insist(stream.partial is not None, "what had come is lost")
        return ending

    return play


def _retried(client: Client, prompt: str) -> tuple[str, int]:
    stream = client.stream("soak/retried", prompt)
    ending = _outcome(stream, TEXT)
    _insist(stream.attempts == 2, f"{stream.attempts} requests instead of two")
    return ending


def _stalled(client: Client, prompt: str) -> tuple[str, int]:
    return _outcome(client.stream("soak/stall", prompt, stream_idle_timeout_ms=_SHORT_MS))


def _late(client: Client, prompt: str) -> tuple[str, int]:
    return _outcome(client.stream("soak/late", prompt, total_timeout_ms=_SHORT_MS))


def _aborted(client: Client, prompt: str) -> tuple[str, int]:
    """Abort from another thread, at a random moment."""
    controller = AbortController()
    stream = client.stream("soak/stall", prompt, signal=controller.signal)
    timer = threading.Timer(random.uniform(0, 0.05), controller.abort)
    timer.start()
    ending = _outcome(stream)
    timer.join()
    return ending


def _event(client: Client, prompt: str) -> tuple[str, int]:
    event = threading.Event()
    stream = client.stream("soak/stall", prompt, signal=event)
    next(stream)
    event.set()
    return _outcome(stream)


def _left(client: Client, prompt: str) -> tuple[str, int]:
    with client.stream("soak/stall", prompt) as stream:
        next(stream)
    return _outcome(stream)


def _dropped(client: Client, prompt: str) -> tuple[str, int]:
    """Drop the stream without its result; its worker and its socket must be released."""
    stream = client.stream("soak/stall", prompt)
    next(stream)
    return "dropped", stream.attempts


_LOST = ("GatewayConnectionError",)
_TIMEOUT = ("StreamTimeoutError",)

KINDS = (
    Kind("whole", _read("whole", TEXT), ("stop",), 12),
    Kind("asked for its result", _result, ("stop",), 8),
    Kind("long", _text, ("stop",), 4),
    Kind("a tool call", _read("tool", TEXT), ("toolUse",), 4),
    Kind("failed by the provider", _read("failed"), ("error",)),
    Kind("refused", _read("refused"), ("InvalidRequestError",)),
    Kind("rate limited", _read("limited"), ("RateLimitError",)),
    Kind("tried again", _retried, ("stop",)),
    Kind("cut", _cut("cut"), _LOST),
    Kind("cut in an event", _cut("cut in an event"), _LOST),
    Kind("reset", _read("reset"), _LOST),
    Kind("never answered", _read("no answer"), _LOST, 1),
    Kind("garbage", _read("garbage"), ("StreamProtocolError",)),
    Kind("without an end", _read("no end"), ("IncompleteStreamError",)),
    Kind("stalled", _stalled, _TIMEOUT),
    Kind("late", _late, _TIMEOUT),
    Kind("aborted from another thread", _aborted, ("aborted", "AbortError")),
    Kind("aborted by an event", _event, ("aborted",)),
    Kind("left", _left, ("aborted",)),
    Kind("dropped", _dropped, ("dropped",)),
)
