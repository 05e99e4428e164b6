"""A turn that several want to end at the same instant, and what its readers must agree on."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pi_native
from pi_native import (
    AbortController,
    AbortError,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    GatewayConnectionError,
    StreamTimeoutError,
    TextDeltaEvent,
)
from pi_native._threads.outcome import Outcome
from pi_native._turn.turn import Turn

LEFT = 20.0  # seconds in which whatever is to happen has happened
ITERATORS = 2
_PACKAGE = str(Path(pi_native.__file__).parent)
_YIELDS = 0.04
STOPPED = "stopped"  # an iteration that ended well

CALLERS = ("deadline", "abort", "close", "drop")


class Race:
    """Readers of one turn and threads that end it, started by one barrier.

    A dropped stream has no reader that holds it; so there the readers read its channel.
    """

    def __init__(
        self, stream: AssistantMessageEventStream, controller: AbortController, runners: int
    ) -> None:
        turn = stream._producer
        assert isinstance(turn, Turn)
        self.turn = turn
        self.controller = controller
        self.held = [stream]
        self.delivered: list[list[Any]] = [[] for _ in range(ITERATORS)]
        self.ends: list[object] = []
        self.results: list[object] = []
        self.pushing = threading.Event()  # somebody pushes the events
        self.start = threading.Barrier(runners + ITERATORS + 1)
        self._threads: list[threading.Thread] = []
        for events in self.delivered:
            self.run(lambda events=events: self._iterate(events))  # type: ignore[misc]
        self.run(lambda: self.results.append(result_of(turn)))

    def run(self, action: Callable[[], object], handicap: float = 0.0) -> None:
        """Run it in a thread of its own, from the start of the race on, or so much later."""

        def wait_and_run() -> None:
            self.start.wait(LEFT)
            if handicap:
                time.sleep(handicap)
            sys.settrace(_jostle)
            action()

        thread = threading.Thread(target=wait_and_run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self, how: str) -> None:
        """End the turn, as a caller or a timeout can."""
        if how == "deadline":
            self.turn.limits["idle"] = 0.0
            self.turn._enter("idle")
        elif how == "abort":
            self.controller.abort("enough")
        elif how == "drop":
            self.held.clear()
        else:
            for stream in self.held:  # there is none when it was dropped a moment ago
                stream.close()

    def finish(self) -> None:
        """Wait until everybody is through."""
        for thread in self._threads:
            thread.join(LEFT)
            assert not thread.is_alive(), "somebody was never freed"

    def judge(self, endings: tuple[str, ...]) -> str:
        """Check that all readers saw the same one ending, one of these, and return which."""
        outcome = self.turn.channel.outcome
        assert outcome is not None
        how = name_of(outcome)
        assert how in endings, (how, endings)
        outcome_of_all = outcome.failure or outcome.result
        assert [*self.results, result_of(self.turn)] == [outcome_of_all] * 2
        assert all(result is outcome_of_all for result in self.results)
        expected = outcome.failure or STOPPED
        assert len(self.ends) == ITERATORS
        assert all(end is expected for end in self.ends), self.ends
        self._judge_events(outcome)
        self._try_to_go_on(outcome, expected)
        return how

    def _judge_events(self, outcome: Outcome[Any, Any]) -> None:
        """Each event was delivered once, in order, none is missing, and the last one is last."""
        numbers: list[int] = []
        last = []
        for events in self.delivered:
            mine = [event.content_index for event in events if isinstance(event, TextDeltaEvent)]
            assert mine == sorted(mine)
            assert all(isinstance(event, TextDeltaEvent) for event in events[:-1])
            last += [event for event in events if not isinstance(event, TextDeltaEvent)]
            numbers += mine
        assert sorted(numbers) == list(range(len(numbers)))
        assert last == ([] if outcome.event is None else [outcome.event])

    def _try_to_go_on(self, outcome: Outcome[Any, Any], expected: object) -> None:
        """Nothing that comes after the end is delivered, or changes anything."""
        channel = self.turn.channel
        channel.push(delta(10**6))
        assert not channel.settle(Outcome(failure=OSError("late")))
        self.turn.abort("late")
        self.turn.fail(OSError("later"))
        self.turn.finish()
        late: list[Any] = []
        self._iterate(late)
        assert late == []
        assert self.ends[-1] is expected
        assert result_of(self.turn) is (outcome.failure or outcome.result)

    def _iterate(self, events: list[Any]) -> None:
        try:
            while True:
                events.append(self.turn.channel.next())
        except StopIteration:
            self.ends.append(STOPPED)
        except Exception as exc:  # noqa: BLE001 - compared with what the others got
            self.ends.append(exc)


def _jostle(frame: FrameType, event: str, _: Any) -> Any:
    """Let another thread go first, now and then, between any two lines of the package's.

    The interpreter's lock would let each of these short functions run through nearly every time.
    The sleep waits for nothing: it releases that lock.
    """
    if event == "call":
        return _jostle if frame.f_code.co_filename.startswith(_PACKAGE) else None
    if random.random() < _YIELDS:
        time.sleep(1e-6)
    return _jostle


def delta(number: int) -> AssistantMessageEvent:
    """Return an event that differs from all others."""
    return TextDeltaEvent(number, "x")


def result_of(turn: Turn) -> object:
    """Return the result or the failure."""
    try:
        return turn.channel.result(LEFT)
    except Exception as exc:  # noqa: BLE001 - compared with what the others got
        return exc


def name_of(outcome: Outcome[Any, Any]) -> str:
    """Return the action that ended the turn; a `close` is an `abort` without a reason."""
    failure, message = outcome.failure, outcome.result
    if isinstance(failure, StreamTimeoutError):
        return "deadline"
    if isinstance(failure, GatewayConnectionError):
        return "failure"
    if isinstance(failure, AbortError):
        return "close" if failure.reason is None else "abort"
    if failure is not None:
        assert "dropped" in str(failure), repr(failure)
        return "drop"
    if message.stop_reason == "aborted":
        return "abort"
    return "terminal event" if message.content else "end of data"


def pairs(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each with each, and with itself."""
    return list(itertools.combinations_with_replacement(names, 2))
