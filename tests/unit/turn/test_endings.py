"""Pairs of endings of a turn at the same instant: exactly one of them counts."""

from __future__ import annotations

import functools
import gc
import itertools
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pi_native
from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    AssistantMessageEventStream,
    Client,
    Conversation,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    Model,
    StreamOptions,
    StreamTimeoutError,
    TextContent,
)
from pi_native._http.connection import SocketHandle
from pi_native._http.timeouts import no_limits
from pi_native._protocol.rules import ended_early, outcome_of
from pi_native._turn.stream import MessageChannel
from pi_native._turn.turn import Turn

from ...repetitions import repetitions
from ..endings import CALLERS, LEFT, Race, delta, pairs

ROUNDS = repetitions(72, 10)  # for each of 28 pairs
EVENTS = 12
PACKAGE = str(Path(pi_native.__file__).parent)
MODEL = Model("y", "x")
DONE = DoneEvent("stop", AssistantMessage([TextContent("all")], stop_reason="stop", timestamp=1))
WORKERS = ("terminal event", "end of data", "failure")


@pytest.fixture(autouse=True)
def quiet_drops() -> Iterator[None]:
    """Ignore the warning of a dropped stream, which another test covers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def work(turn: Turn, how: str) -> None:
    """Push some events, and end the turn as its worker does."""
    for number in range(EVENTS):
        turn.channel.push(delta(number))
    end_as_worker(turn, how)


def end_as_worker(turn: Turn, how: str) -> None:
    """Decide the outcome, then release everything."""
    if how == "failure":
        turn.fail(GatewayConnectionError("cut", phase="body"))
    else:
        outcome = outcome_of(DONE) if how == "terminal event" else ended_early(MODEL, "done")
        assert outcome is not None
        turn.end(outcome)
        turn.channel.settle(outcome)
    turn.finish()


def start(race: Race, how: str, other: str, handicap: float = 0.0) -> None:
    """Start a thread that ends the turn in this way, with a delay if it is not a worker."""
    turn = race.turn
    if how in WORKERS:
        # There is one worker; a second ending of its kind has no events of its own.
        pushes = other not in WORKERS or not race.pushing.is_set()
        race.pushing.set()
        race.run(lambda: work(turn, how) if pushes else end_as_worker(turn, how))
    elif how == "drop":
        # The worker ends without a reason when it notices the drop.
        race.run(lambda: (race.end("drop"), turn.finish()))
    else:
        race.run(lambda: race.end(how), handicap)


def run(pair: tuple[str, str], streaming: bool, head_start: float = 0.0) -> str:
    """Run one race, the first of the pair `head_start` seconds ahead; return the winner."""
    controller = AbortController()
    turn = Turn(MODEL, StreamOptions(signal=controller.signal))
    turn._streaming = streaming
    turn.begin(no_limits())
    heard: list[int] = []
    controller.signal.add_listener(lambda: heard.append(1))
    race = Race(AssistantMessageEventStream(turn.channel, turn), controller, runners=2)
    start(race, pair[0], pair[1])
    start(race, pair[1], pair[0], head_start)
    race.finish()
    assert turn.channel.wait_settled(LEFT)
    turn.finish()
    assert len(heard) == ("abort" in pair)
    # An abort in mid-stream does not show which of the two it was.
    endings = (*pair, "abort") if "close" in pair else pair
    return race.judge(endings)


@pytest.mark.parametrize("pair", pairs((*WORKERS, *CALLERS)), ids=" and ".join)
def test_of_two_endings_at_once_all_readers_see_the_same_one(pair: tuple[str, str]) -> None:
    """All readers see the same ending after the same events, and nothing after it."""
    for number in range(ROUNDS):
        assert run(pair, streaming=bool(number % 2)) in (*pair, "abort")


def test_either_of_two_endings_can_win() -> None:
    """The races above are races: within many rounds each side is first at least once."""
    winners = set()
    for number in range(ROUNDS):
        # A worker pushes events first, and would nearly always be second otherwise.
        head_start = random.uniform(0, 0.01)
        winners.add(run(("terminal event", "abort"), bool(number % 2), head_start))
        if len(winners) == 2:
            break
    assert winners == {"terminal event", "abort"}


@pytest.mark.parametrize("kind", [AbortController, threading.Event])
@pytest.mark.parametrize("point", ["the partial is parsed", "the outcome is decided"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_cancel_before_a_timeout_is_decided_counts_as_the_cancel(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], point: str, streaming: bool
) -> None:
    """A signal that is set before the failure is decided makes it a cancel, at each point."""
    source = kind()
    signal = source.signal if kind is AbortController else source
    turn = Turn(MODEL, StreamOptions(signal=signal))
    turn._streaming = streaming
    # No listener is registered, as if its thread had not come to it yet: the signal is only set.

    def cancel() -> None:
        source.abort("enough") if kind is AbortController else source.set()

    stop_at(monkeypatch, point, cancel)
    turn.fail(StreamTimeoutError("too late", phase="idle", limit=1.0))
    assert turn.cancelled
    if streaming:
        assert turn.channel.result(0).stop_reason == "aborted"
        assert isinstance(turn.channel.next(), ErrorEvent)
    else:
        with pytest.raises(AbortError, match="enough" if kind is AbortController else "aborted"):
            turn.channel.result(0)
    turn.finish()


def stop_at(monkeypatch: pytest.MonkeyPatch, point: str, action: Callable[[], object]) -> None:
    """Run the action once, at a point of `Turn.fail`."""
    if point == "the partial is parsed":
        monkeypatch.setattr(MessageChannel, "partial", property(lambda _: action()))
        return
    settle = MessageChannel.settle

    def act_and_settle(channel: MessageChannel, outcome: Any) -> bool:
        action()
        return settle(channel, outcome)

    monkeypatch.setattr(MessageChannel, "settle", act_and_settle)


def test_a_cancel_after_a_timeout_was_published_changes_nothing() -> None:
    """The first ending stays: a later cancel does not replace a failure."""
    controller = AbortController()
    turn = Turn(MODEL, StreamOptions(signal=controller.signal))
    turn.begin(no_limits())
    turn.fail(StreamTimeoutError("too late", phase="idle", limit=1.0))
    controller.abort()
    assert not turn.cancelled
    with pytest.raises(StreamTimeoutError):
        turn.channel.result(0)
    turn.finish()


def test_a_ctrl_c_before_the_cut_of_an_abort_still_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a Ctrl-C interrupts `abort` as it settles, the connection is still cut."""
    turn = Turn(MODEL, StreamOptions())
    cuts: list[int] = []
    monkeypatch.setattr(SocketHandle, "cut", lambda _: cuts.append(1))
    monkeypatch.setattr(MessageChannel, "settle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        turn.abort(None)
    assert cuts
    monkeypatch.undo()
    turn.finish()


def interrupted(*_: object) -> bool:
    """Raise `KeyboardInterrupt`, as a call during which Ctrl-C is pressed."""
    raise KeyboardInterrupt


class Ending(Client):
    """A client whose turns end at the command of the test."""

    turns: list[Turn]

    def _start_turn(
        self,
        model: Any,  # noqa: ARG002
        context: Any,  # noqa: ARG002
        options: Any,  # noqa: ARG002
        keep: Callable[[AssistantMessage], object] | None = None,
    ) -> AssistantMessageEventStream:
        turn = Turn(MODEL, StreamOptions(), keep)
        self.turns = [turn]
        return AssistantMessageEventStream(turn.channel, turn)


def test_a_ctrl_c_as_a_turn_ends_adds_it_to_the_history_once() -> None:
    """Interrupted at any line of its end, a turn is in the history before a reader learns of it."""
    in_history = set()
    for point in itertools.count(1):
        client = Ending("http://127.0.0.1:1", "key")
        chat = Conversation(client, "x/y")
        stream = chat.stream("hi")
        outcome = outcome_of(DONE)
        assert outcome is not None
        settle = functools.partial(client.turns[0].channel.settle, outcome)
        interrupted = interrupted_at(point, settle)
        in_history.add(len(chat.messages))
        client.turns[0].channel.settle(outcome)
        assert stream.result(0) is DONE.message
        assert [message.role for message in chat.messages] == ["user", "assistant"]
        client.turns[0].finish()
        if not interrupted:
            break
    assert in_history == {0, 2}


def interrupted_at(point: int, action: Callable[[], object]) -> bool:
    """Run an action with a Ctrl-C before its n-th line in this package; return if there is one."""
    left = point

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            left -= 1
            if not left:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    gc.disable()  # an interrupt in a finalizer is reported, and raised nowhere
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False
