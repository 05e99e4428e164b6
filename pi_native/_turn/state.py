"""The state of one turn, shared by the caller, its worker thread and the timer thread.

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
from .._http.timeouts import Timeouts
from .._protocol.request import Request
from .._protocol.rules import NO_PROGRESS, aborted
from .._threads.abort import AbortSignal, as_exception
from .._threads.clock import monotonic
from .._threads.outcome import Outcome
from .._threads.timers import PhaseClock, Timer, timer_thread, watch_event
from .._types.events import AssistantMessageEvent
from .._types.messages import AssistantMessage
from .._types.options import ResponseInfo, RetryInfo, StreamOptions
from .._types.request import Model
from .._types.stats import StreamStats
from ..errors import PiNativeError, ProviderError, TimeoutPhase
from .logs import callback_raised
from .observers import Moment, TurnObserver
from .retry import MAX_HEADERS_SECONDS, retry_delay
from .stats import StatsRecorder
from .stream import MessageChannel, outcome_of

_LOOK_SECONDS = 0.25

TurnOutcome = Outcome[AssistantMessageEvent, AssistantMessage]

_NO_LIMITS = Timeouts(None, None, None, None)


def _nothing() -> None:
    pass


def _has_news(events: Sequence[AssistantMessageEvent]) -> bool:
    return any(event.type not in NO_PROGRESS for event in reversed(events))


class OverError(Exception):
    """The turn has ended, so the worker must stop."""


class Turn:
    """A turn: its channel, its current attempt, its clock and its statistics.

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
        self.channel = MessageChannel()
        self.response: ResponseInfo | None = None
        self.truncated = False
        self.worker: threading.Thread | None = None
        self._observers = observers
        self._stats = StatsRecorder()
        self._limits = _NO_LIMITS
        self._clock = PhaseClock(self._expired)
        self._total: Timer | None = None
        self._unlisten: Callable[[], None] = _nothing
        self._on_response = options.on_response
        self._handle = SocketHandle()
        self._held_back: list[AssistantMessageEvent] | None = None
        self._streaming = False  # true while the body of a good response is read
        self._progressed_at: float | None = None
        self._tries = 0
        self._provider_failures = 0
        self._sent_at: float | None = None
        self._headers_at: float | None = None
        self._cancel: TurnOutcome | None = None
        self._dropped = False
        self._end_noted = False
        if keep is not None:
            self._keep = keep
            self.channel.before_end = self._keep_answer

    # Used by the stream.

    @property
    def attempts(self) -> int:
        """The number of requests that were made so far."""
        return self._stats.attempts

    @property
    def stats(self) -> StreamStats:
        """The statistics so far."""
        return self._stats.stats()

    def abort(self, reason: object) -> None:
        """Settle as cancelled, if nothing has settled yet, and cut the connection."""
        try:
            if not self.channel.settled:
                self.settle(self.cancelled_outcome(reason))
        finally:
            self._handle.cut()

    def drop(self) -> None:
        """End only the worker: no reader is left. Runs in a finaliser, so it takes no lock."""
        self._dropped = True
        self._handle.cut()

    @property
    def cancelled(self) -> bool:
        """True if the turn ended because the caller cancelled it."""
        return self._cancel is not None and self._cancel is self.channel.outcome

    def join(self, timeout: float) -> None:
        """Wait for the worker to end, at most `timeout` seconds."""
        if self.worker is not None and self.worker is not threading.current_thread():
            self.worker.join(timeout)

    # Used by the worker.

    def begin(self, limits: Timeouts) -> None:
        """Listen to the caller's signal, and start the clock of the whole turn."""
        self._limits = limits
        if (total := limits.total) is not None:
            self._total = timer_thread().call_later(total, lambda: self._expired("total", total))
        signal = self.options.signal
        if isinstance(signal, AbortSignal):
            self._unlisten = signal.add_listener(lambda: self.abort(signal.reason))
        elif signal is not None:
            self._unlisten = watch_event(signal, lambda: self.abort(None))

    def started(self) -> None:
        """Note that the worker thread has started."""
        self._notify("started")

    def begin_attempt(self, request: Request, *, may_retry: bool) -> SocketHandle:
        """Note that a request is about to be sent, and return the handle of its connection.

        With `may_retry`, events without content are held back until content arrives.
        """
        self._tries += 1
        self._stats.begin_attempt()
        self._held_back = [] if may_retry else None
        self._progressed_at = self._sent_at = self._headers_at = None
        model = f"{self.model.provider}/{self.model.id}"
        self._notify("sending", request, model, self.attempts)
        self._handle = SocketHandle()
        self.connecting()
        self.check()  # an earlier cancel has cut the handle of the previous attempt
        return self._handle

    def connecting(self) -> None:
        """Note that a connection is about to be opened."""
        self._clock.enter("connect", self._limits.connect)

    def connected(self) -> None:
        """Note that the connection is ready for the request."""
        self._sent_at = monotonic()
        self._clock.enter("headers", self._limits.first_event)

    def resending(self) -> None:
        """Count the request that replaces the one on a dead connection."""
        self._stats.begin_attempt()

    def await_headers(self, limit: float | None) -> None:
        """Count the wait for the headers together with connecting, which cannot be observed."""
        self._sent_at = monotonic()
        self._clock.enter("headers", limit)

    def responded(self, response: ResponseInfo) -> None:
        """Note that the response headers have arrived."""
        self.response = response
        self._headers_at = monotonic()
        self._stats.headers_in()
        self._notify("responded", response, self._stats.stats)
        self.check()

    def refused(self) -> None:
        """Note that the response is no stream: only its error body is read, without a deadline."""
        self._clock.stop()

    def streaming(self, response: ResponseInfo) -> None:
        """Note that the response is a stream, and call `on_response`, which may raise."""
        self._clock.enter("first_event", self._limits.first_event)
        self._streaming = True
        callback, self._on_response = self._on_response, None
        if callback is not None:
            callback(response)

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

    def retry_delay(self, failure: PiNativeError) -> float | None:
        """Return the seconds to wait before another attempt; None if no retry is permitted.

        No retry is permitted once content was delivered, or once the model may have been thinking.
        """
        if self._held_back is None or self._waited_for_headers > MAX_HEADERS_SECONDS:
            return None
        delay = retry_delay(failure, self._tries, self._provider_failures)
        self._provider_failures += isinstance(failure, ProviderError)
        return delay

    def give_up_retrying(self) -> None:
        """Deliver the events that were held back: no other attempt follows."""
        if self._held_back is not None:
            events, self._held_back = self._held_back, None
            self.channel.push_all(events)

    @property
    def _waited_for_headers(self) -> float:
        """The seconds that the current request has waited for its response headers."""
        if self._sent_at is None:
            return 0.0
        return (self._headers_at or monotonic()) - self._sent_at

    def retrying(self, retry: RetryInfo) -> None:
        """Notify the observers and `on_retry` that another attempt follows."""
        self.check()
        self._streaming = False
        self._notify("retrying", retry)
        if self.options.on_retry is not None:
            try:
                self.options.on_retry(retry)
            except Exception:  # noqa: BLE001 - an observer must not break a turn
                callback_raised("on_retry")

    def pause(self, seconds: float) -> None:
        """Wait between two attempts. Raise `OverError` on a cancel."""
        left = seconds
        while left > 0:
            # A finaliser takes no lock, so a dropped stream cannot wake this up.
            self.channel.wait_settled(min(left, _LOOK_SECONDS))
            left -= _LOOK_SECONDS
            self.check()

    def end_attempt(self) -> None:
        """Release the connection, which may then serve another turn."""
        self._clock.stop()
        self._handle.release()

    def end(self, outcome: TurnOutcome | None) -> None:
        """Record the turn's end, before it is published: the program may exit after that."""
        self._clock.stop()
        if outcome is not None:
            self._stamp(outcome)
        if not self._end_noted:
            self._end_noted = True
            self._notify("ended", outcome, self._stats.stats)

    def fail(self, failure: BaseException) -> None:
        """Settle as failed. If the caller has cancelled the turn, settle as cancelled instead."""
        outcome = self.failed(failure)  # may be slow: it parses the newest snapshot
        self._stamp(outcome)
        if self.caller_aborted():
            self.abort_as_asked()
        else:
            self.channel.settle(outcome)

    def finish(self) -> None:
        """Release all that the turn holds: no timer, listener or waiting reader remains."""
        try:
            # References to the turn are removed, so that no cycle keeps its events in memory.
            self._clock.close()
            if self._total is not None:
                self._total.cancel()
            unlisten, self._unlisten = self._unlisten, _nothing
            unlisten()
            self._stats.stop(None)
            self.end(self.channel.outcome)
        finally:
            if not self.channel.settled:
                self.channel.settle(Outcome(failure=PiNativeError("the stream was dropped")))

    # Used by all threads.

    @property
    def over(self) -> bool:
        """True once the turn has ended or its stream was dropped."""
        return self._dropped or self.channel.settled

    def check(self) -> None:
        """Raise `OverError` if the turn is over."""
        if self.over:
            raise OverError

    def settle(self, outcome: TurnOutcome) -> None:
        """Decide and publish the outcome, unless there is one."""
        self._stamp(outcome)
        self.channel.settle(outcome)

    def caller_aborted(self) -> bool:
        """Return whether the caller's signal is set, even if no thread has noticed it yet."""
        signal = self.options.signal
        if isinstance(signal, AbortSignal):
            return signal.aborted
        return signal is not None and signal.is_set()

    def cancelled_outcome(self, reason: object) -> TurnOutcome:
        """Return the outcome of a cancel: a message while the answer streams, else a failure."""
        if self._streaming:
            self._cancel = aborted(self.model)
        else:
            self._cancel = Outcome(failure=as_exception(reason))
        return self._cancel

    def abort_as_asked(self) -> None:
        """Abort with the reason of the caller's signal."""
        signal = self.options.signal
        self.abort(signal.reason if isinstance(signal, AbortSignal) else None)

    def failed(self, failure: BaseException) -> TurnOutcome:
        """Return the outcome for a failure, with the newest snapshot as its `partial`."""
        if isinstance(failure, PiNativeError) and failure.partial is None:
            failure.partial = self.channel.partial
        if isinstance(failure, PiNativeError) and failure.request_id is None:
            failure.request_id = self._request_id
        return Outcome(failure=failure)

    @property
    def _request_id(self) -> str | None:
        return None if self.response is None else self.response.request_id

    def _stamp(self, outcome: TurnOutcome) -> None:
        """Stop the statistics, and store them in the message."""
        message = outcome.result
        usage = None if message is None else message.usage
        self._stats.stop(None if usage is None else usage.output)
        if message is not None:
            message.stats = self._stats.stats()
            message.request_id = self._request_id

    def _notify(self, moment: Moment, *details: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, moment)(*details)
            except (Exception, SystemExit):  # noqa: BLE001 - an observer must not break a turn
                callback_raised(f"{type(observer).__name__}.{moment}")

    def _measure(self, events: Sequence[AssistantMessageEvent], news: bool) -> None:
        now = monotonic()
        self._stats.events += len(events)
        if not self._stats.complete and self._stats.saw(events, now, news=news):
            self._notify("first_event", self._stats.stats)
        if news:
            if self._progressed_at is None:
                self._clock.enter("idle", self._limits.idle)
            self._progressed_at = now

    def _hand_over(self, events: Sequence[AssistantMessageEvent]) -> None:
        if self._held_back is not None:
            self._held_back += events
            if not _has_news(events):
                return
            events, self._held_back = self._held_back, None
        self.channel.add(events)

    def _keep_answer(self, outcome: TurnOutcome) -> None:
        message = outcome.result
        if message is not None and not (message.failed or self.truncated or self._dropped):
            self._keep(message)

    def _expired(self, phase: TimeoutPhase, limit: float) -> None:
        if self._end_noted:
            return  # the terminal event has arrived, and is published within 40 ms
        if phase == "idle" and self._progressed_at is not None:
            # Moving the timer at each event would cost more than this check when it expires.
            left = self._progressed_at + limit - monotonic()
            if left > 0:
                self._clock.enter(phase, limit, left)
                return
        self.fail(timeout_error(phase, limit, self._handle.stage))
        self._handle.cut()
