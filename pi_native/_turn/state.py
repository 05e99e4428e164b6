"""The state of a turn that its caller, its worker and the timer thread share, and its end.

A cancel, a timeout, a failure and a dropped stream all do two things in the thread in which they
happen: they settle the channel, so that the caller never waits for the worker, and they cut the
connection of the current attempt. The worker wakes up, checks whether the turn is over before it
handles any exception, closes its own response, and ends. No other thread closes anything: closing
from another thread waits for the lock of the reader.

"The turn is over" and "this connection is given up" are two facts: each attempt has its
own handle, and cutting one does not affect the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from .._http.connection import SocketHandle
from .._http.errors import timeout_error
from .._http.timeouts import no_limits
from .._protocol.rules import NO_PROGRESS, aborted, outcome_of
from .._threads.abort import as_exception
from .._threads.clock import monotonic
from .._threads.outcome import Outcome
from .._threads.signals import is_set, reason_of
from .._threads.timers import Timer, timer_thread
from .._types.events import AssistantMessageEvent
from .._types.messages import AssistantMessage
from .._types.options import ResponseInfo, StreamOptions
from .._types.request import Model
from .._types.stats import StreamStats
from ..errors import PiNativeError, TimeoutPhase
from .logs import callback_raised
from .observers import Moment, TurnObserver
from .stats import StatsRecorder
from .stream import MessageChannel

TurnOutcome = Outcome[AssistantMessageEvent, AssistantMessage]


class OverError(Exception):
    """The turn has ended, so the worker must stop."""


class TurnState:
    """The channel, the connection, the clock and the statistics of a turn.

    `keep(message)` is called with a complete answer before any reader learns that the turn has
    ended. It may be called in any thread, also in a signal handler, and after a Ctrl-C a second
    time: it must not raise or take a lock, and must do nothing the second time.
    """

    def __init__(
        self,
        model: Model,
        options: StreamOptions,
        keep: Callable[[AssistantMessage], object] | None = None,
        observers: Sequence[TurnObserver] = (),
    ) -> None:
        self.model = model
        self.options = options
        self.limits = no_limits()
        self.channel = MessageChannel()
        self.channel.before_end = self._complete
        self.response: ResponseInfo | None = None
        self.truncated = False
        self.worker: threading.Thread | None = None
        self._keep = keep
        self._observers = observers
        self._stats = StatsRecorder()
        self._clock = timer_thread().timer(lenient=True)
        self._total: Timer | None = None
        self._unlisten: Callable[[], None] | None = None
        self._handle = SocketHandle()
        self._held_back: list[AssistantMessageEvent] | None = None
        self._streaming = False  # true while the body of a good response is read
        self._progressed_at: float | None = None
        self._dropped = False
        self._end_noted = False

    # Used by the stream.

    @property
    def attempts(self) -> int:
        """The number of requests that were made so far."""
        return self._stats.attempts

    @property
    def stats(self) -> StreamStats:
        """The statistics so far."""
        return self._stats.stats()

    @property
    def cancelled(self) -> bool:
        """True if the turn ended because the caller cancelled it."""
        outcome = self.channel.outcome
        return outcome is not None and outcome.cancelled

    def abort(self, reason: object) -> None:
        """Settle as cancelled, if nothing has settled yet, and cut the connection."""
        try:
            if not self.channel.settled:
                self.channel.settle(self.cancelled_outcome(reason))
        finally:
            self._cut_attempt()

    def drop(self) -> None:
        """End only the worker: no reader is left. Runs in a finaliser, so it waits for no lock."""
        self._dropped = True
        self._cut_attempt()

    def _cut_attempt(self) -> None:
        """Cut the connection of the current attempt, also if it begins at this moment.

        The lock of the handle orders this with `begin_attempt`: either the worker sees that the
        turn is over, or this thread sees the handle of the new attempt.
        """
        cut = None
        while cut is not self._handle:
            cut = self._handle
            cut.cut()

    def join(self, timeout: float) -> None:
        """Wait for the worker to end, at most `timeout` seconds."""
        if self.worker is not None and self.worker is not threading.current_thread():
            self.worker.join(timeout)

    # The events.

    def received(self, size: int) -> None:
        """Count the bytes of the body, before its end."""
        self._stats.bytes += size

    def progress(
        self, events: Sequence[AssistantMessageEvent], *, at_end: bool
    ) -> TurnOutcome | None:
        """Deliver the events of one read; `channel.wake` must follow before anything blocks.

        At the end of the events, return the outcome if the last one is terminal. That event is not
        delivered: it is part of the outcome.
        """
        outcome = outcome_of(events[-1]) if at_end else None
        self._measure(events, _has_news(events))
        if outcome is None:
            self._hand_over(events)
        else:
            self._hand_over(events[:-1])
            self.channel.note(events)
        return outcome

    def _measure(self, events: Sequence[AssistantMessageEvent], news: bool) -> None:
        now = monotonic()
        self._stats.events += len(events)
        if not self._stats.complete and self._stats.saw(events, now, news=news):
            self._notify("first_event", self._stats.stats)
        if news:
            if self._progressed_at is None:
                self._enter("idle")
            self._progressed_at = now

    def _hand_over(self, events: Sequence[AssistantMessageEvent]) -> None:
        if self._held_back is not None:
            self._held_back += events
            if not _has_news(events):
                return
            events, self._held_back = self._held_back, None
        self.channel.add(events)

    # The timeouts.

    def _enter(self, phase: TimeoutPhase, left: float | None = None) -> None:
        """Start the timeout of a phase in place of the earlier one, with `left` seconds of it."""
        limit = self.limits[phase]
        self._clock.start(limit if left is None else left, lambda: self._expired(phase))

    def _expired(self, phase: TimeoutPhase) -> None:
        if self._end_noted:
            return  # the terminal event has arrived, and is published within 40 ms
        limit = self.limits[phase]
        if phase == "idle" and limit is not None and self._progressed_at is not None:
            # Moving the timer at each event would cost more than this check when it expires.
            left = self._progressed_at + limit - monotonic()
            if left > 0:
                self._enter(phase, left)
                return
        self.fail(timeout_error(phase, limit, self._handle.stage))
        self._cut_attempt()

    # The end.

    @property
    def over(self) -> bool:
        """True once the turn has ended or its stream was dropped."""
        return self._dropped or self.channel.settled

    def check(self) -> None:
        """Raise `OverError` if the turn is over."""
        if self.over:
            raise OverError

    def fail(self, failure: BaseException) -> None:
        """Settle as failed; as cancelled if the caller has cancelled before that."""
        self.channel.settle(self.failed(failure))

    def end(self, outcome: TurnOutcome | None) -> None:
        """Record the turn's end, before it is published: the program may exit after that."""
        self._clock.cancel()
        self._stop_stats(outcome)
        if not self._end_noted:
            self._end_noted = True
            self._notify("ended", outcome, self._stats.stats)

    def end_attempt(self) -> None:
        """Release the connection, which may then serve another turn."""
        self._clock.cancel()
        self._handle.release()

    def finish(self) -> None:
        """Release all that the turn holds: no timer, listener or waiting reader remains."""
        try:
            # References to the turn are removed, so that no cycle keeps its events in memory.
            self._clock.cancel()
            if self._total is not None:
                self._total.cancel()
            unlisten, self._unlisten = self._unlisten, None
            if unlisten is not None:
                unlisten()
            self.end(self.channel.outcome)
        finally:
            if not self.channel.settled:
                self.channel.settle(Outcome(failure=PiNativeError("the stream was dropped")))

    def cancelled_outcome(self, reason: object) -> TurnOutcome:
        """Return the outcome of a cancel: a message while the answer streams, else a failure."""
        outcome = aborted(self.model) if self._streaming else Outcome(failure=as_exception(reason))
        outcome.cancelled = True
        return outcome

    def failed(self, failure: BaseException) -> TurnOutcome:
        """Return the outcome for a failure, with the newest snapshot as its `partial`.

        Parsing that may take long, so it is done before anything is decided.
        """
        if isinstance(failure, PiNativeError) and failure.partial is None:
            failure.partial = self.channel.partial
        if isinstance(failure, PiNativeError) and failure.request_id is None:
            failure.request_id = self._request_id
        return Outcome(failure=failure)

    def _complete(self, outcome: TurnOutcome) -> None:
        """Complete the outcome that was decided, before any reader learns it.

        A failure after the caller's signal was set becomes a cancel. This is checked here, after
        the decision: a check before it would miss a signal that is set between the two.
        """
        signal = self.options.signal
        if outcome.failure is not None and not outcome.cancelled and is_set(signal):
            outcome.become(self.cancelled_outcome(reason_of(signal)))
        self._stop_stats(outcome)
        message = outcome.result
        if message is None:
            return
        message.stats = self._stats.stats()
        message.request_id = self._request_id
        unusable = message.failed or self.truncated or self._dropped
        if self._keep is not None and not unusable:
            self._keep(message)

    def _stop_stats(self, outcome: TurnOutcome | None) -> None:
        message = None if outcome is None else outcome.result
        usage = None if message is None else message.usage
        self._stats.stop(None if usage is None else usage.output)

    @property
    def _request_id(self) -> str | None:
        return None if self.response is None else self.response.request_id

    def _notify(self, moment: Moment, *details: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, moment)(*details)
            except (Exception, SystemExit):  # noqa: BLE001 - an observer must not break a turn
                callback_raised(f"{type(observer).__name__}.{moment}")


def _has_news(events: Sequence[AssistantMessageEvent]) -> bool:
    return any(event.type not in NO_PROGRESS for event in reversed(events))
