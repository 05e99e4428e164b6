"""One turn as everybody may end it, from any thread: abort, deadline, failure, dropped stream.

They all do the same two things in the thread they come from: settle the channel, so that the caller
is free whatever the worker is stuck in, and cut the connection. The worker wakes up, sees that the
turn is over before it believes any exception, closes its own response, and ends. Nobody else closes
anything: closing from another thread waits for the reader's lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .._http.connection import SocketHandle
from .._protocol.rules import aborted
from .._threads.abort import AbortSignal, as_exception
from .._threads.outcome import Outcome
from .._threads.timers import PhaseClock, Timer, timer_thread, watch_event
from .._types.events import AssistantMessageEvent
from .._types.messages import AssistantMessage
from .._types.options import ResponseInfo, StreamOptions
from .._types.request import Model
from .._types.stats import StreamStats
from ..errors import PiNativeError, StreamTimeoutError, TimeoutPhase
from . import logs
from .stats import StatsRecorder
from .stream import MessageChannel
from .telemetry import TurnSpan, end_span

_LOOK_SECONDS = 0.25

TurnOutcome = Outcome[AssistantMessageEvent, AssistantMessage]

_EXPIRED: dict[TimeoutPhase, str] = {
    "connect": "timed out while connecting to the gateway",
    "headers": "timed out while waiting for the response headers",
    "first_event": "pi-native stream timed out while waiting for the first event",
    "idle": "pi-native stream stalled while waiting for the next event",
    "total": "the turn took longer than its total timeout",
}


def _nothing() -> None:
    pass


class OverError(Exception):
    """The turn ended while the worker was busy; there is nothing left for it to say."""


class Turn:
    """What the caller's stream, the worker and the watchdog share of one turn."""

    def __init__(
        self,
        model: Model,
        options: StreamOptions,
        keep: Callable[[AssistantMessage], object] | None = None,
    ) -> None:
        self.model = model
        self.options = options
        self.channel = MessageChannel()
        self.lifeline = SocketHandle()
        self.clock = PhaseClock(self._expired)
        self.response: ResponseInfo | None = None
        self.truncated = False
        self.meter = StatsRecorder()
        self.span: TurnSpan | None = None
        self.streaming = False
        self.worker: threading.Thread | None = None
        self._on_response = options.on_response
        self._dropped = False
        self._total: Timer | None = None
        self._unlisten: Callable[[], None] = _nothing
        if keep is not None:
            self._keep = keep
            self.channel.before_end = self._keep_answer

    @property
    def over(self) -> bool:
        """Whether there is nobody left to tell anything."""
        return self._dropped or self.channel.settled

    @property
    def attempts(self) -> int:
        """How many requests were made so far."""
        return self.meter.attempts

    @property
    def stats(self) -> StreamStats:
        """What was measured so far."""
        return self.meter.stats()

    def check(self) -> None:
        """Raise `OverError` if the turn is over."""
        if self.over:
            raise OverError

    def begin(self, total: float | None) -> None:
        """Listen to the caller's signal, and start the clock of the whole turn (in seconds)."""
        if total is not None:
            self._total = timer_thread().call_later(total, lambda: self._expired("total", total))
        signal = self.options.signal
        if isinstance(signal, AbortSignal):
            self._unlisten = signal.add_listener(lambda: self.abort(signal.reason))
        elif signal is not None:
            self._unlisten = watch_event(signal, lambda: self.abort(None))

    def abort(self, reason: object) -> None:
        """Settle as cancelled, if nothing has settled yet, and cut the connection."""
        if self.streaming:
            self._settle(aborted(self.model))
        else:
            self._settle(Outcome(failure=as_exception(reason)))
        self.lifeline.cut()

    def drop(self) -> None:
        """Nobody reads any more: only the worker is to end. Runs in a finaliser, so no locks."""
        self._dropped = True
        self.lifeline.cut()

    def join(self, timeout: float) -> None:
        """Wait for the worker to end, at most `timeout` seconds."""
        if self.worker is not None and self.worker is not threading.current_thread():
            self.worker.join(timeout)

    def announce(self, response: ResponseInfo) -> None:
        """Tell the caller's `on_response`, once. What it raises is not caught."""
        callback, self._on_response = self._on_response, None
        if callback is not None:
            callback(response)

    def pause(self, seconds: float) -> None:
        """Wait between two attempts, with no phase under way. Raises `OverError` on a cancel."""
        self.streaming = False
        self.clock.stop()
        self.lifeline.release()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            # A finaliser takes no lock, so a dropped stream cannot wake this up.
            self.channel.wait_settled(min(left, _LOOK_SECONDS))
            self.check()

    def hold(self, outcome: TurnOutcome) -> None:
        """Decide the outcome, which is told when the connection has been seen to."""
        self._measure(outcome)
        self.channel.hold(outcome)

    def fail(self, failure: BaseException) -> None:
        """Settle as failed, unless the caller has called the turn off: that counts first."""
        if self.caller_aborted():
            self.abort_as_asked()
        elif not self.channel.settled:
            self._settle(self.failed(failure))

    def failed(self, failure: BaseException) -> TurnOutcome:
        """The outcome for a failure, which takes along what had arrived."""
        if isinstance(failure, PiNativeError) and failure.partial is None:
            failure.partial = self.channel.partial
        if isinstance(failure, PiNativeError) and failure.request_id is None:
            failure.request_id = None if self.response is None else self.response.request_id
        return Outcome(failure=failure)

    def caller_aborted(self) -> bool:
        """Whether the caller's signal says so, noticed already or not."""
        signal = self.options.signal
        if isinstance(signal, AbortSignal):
            return signal.aborted
        return signal is not None and signal.is_set()

    def abort_as_asked(self) -> None:
        """Abort with the reason that the caller's signal gives."""
        signal = self.options.signal
        self.abort(signal.reason if isinstance(signal, AbortSignal) else None)

    def finish(self) -> None:
        """Take back everything that was hung up, and make sure that no reader waits for ever."""
        # What holds the turn is let go of, so that no cycle keeps its events until a collection.
        self.clock.close()
        if self._total is not None:
            self._total.cancel()
        unlisten, self._unlisten = self._unlisten, _nothing
        unlisten()
        self.lifeline.release()
        self.meter.stop(None)
        # Before readers learn of it: the program may be over once they have.
        logs.ended(self.channel.outcome, self.meter)
        end_span(self.span, self.channel.outcome, self.stats)
        if not self.channel.release():
            self.channel.settle(Outcome(failure=PiNativeError("the stream was dropped")))

    def _settle(self, outcome: TurnOutcome) -> None:
        self._measure(outcome)
        self.channel.settle(outcome)

    def _measure(self, outcome: TurnOutcome) -> None:
        message = outcome.result
        usage = None if message is None else message.usage
        self.meter.stop(None if usage is None else usage.output)
        if message is not None:
            message.stats = self.meter.stats()
            message.request_id = None if self.response is None else self.response.request_id

    def _keep_answer(self, outcome: TurnOutcome) -> None:
        message = outcome.result
        if message is None or message.failed or self.truncated or self._dropped:
            return
        self._keep(message)

    def _expired(self, phase: TimeoutPhase, limit: float) -> None:
        self.fail(StreamTimeoutError(_EXPIRED[phase], phase=phase, limit=limit))
        self.lifeline.cut()
