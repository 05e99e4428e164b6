"""A turn as its worker thread sees it: its attempts, their phases, and the retries."""

from __future__ import annotations

from .._http.connection import SocketHandle
from .._http.timeouts import Limits, sum_of
from .._protocol.request import Request
from .._threads.clock import monotonic
from .._threads.signals import on_abort
from .._threads.timers import timer_thread
from .._types.options import ResponseInfo, RetryInfo
from ..errors import PiNativeError, ProviderError
from .logs import callback_raised
from .retry import MAX_HEADERS_SECONDS, retry_delay
from .state import TurnState

_LOOK_SECONDS = 0.25


class Turn(TurnState):
    """A turn, from its first attempt to the end of its worker. `TurnState` describes `keep`."""

    _tries = 0
    _provider_failures = 0
    _sent_at: float | None = None
    _headers_at: float | None = None
    _called_back = False  # true once `on_response` was called

    def begin(self, limits: Limits) -> None:
        """Listen to the caller's signal, and start the clock of the whole turn."""
        self.limits = limits
        if (total := limits["total"]) is not None:
            self._total = timer_thread().call_later(total, lambda: self._expired("total"))
        self._unlisten = on_abort(self.options.signal, self.abort)

    def started(self) -> None:
        """Note that the worker thread has started."""
        self._notify("started")

    # An attempt.

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
        before, self._handle = self._handle, SocketHandle()
        before.release()  # takes its lock, as `_cut_attempt` explains
        self.connecting()
        self.check()  # an earlier cancel has cut the handle of the previous attempt
        return self._handle

    def connecting(self) -> None:
        """Note that a connection is about to be opened."""
        self._enter("connect")

    def connected(self) -> None:
        """Note that the connection is ready for the request."""
        self._sent_at = monotonic()
        self._enter("headers")

    def resending(self) -> None:
        """Count the request that replaces the one on a dead connection."""
        self._stats.begin_attempt()

    def await_headers(self) -> None:
        """Count the wait for the headers together with connecting, which cannot be observed."""
        self.limits["headers"] = sum_of(self.limits["connect"], self.limits["first_event"])
        self.connected()

    def responded(self, response: ResponseInfo) -> None:
        """Note that the response headers have arrived."""
        self.response = response
        self._headers_at = monotonic()
        self._stats.headers_in()
        self._notify("responded", response, self._stats.stats)
        self.check()

    def refused(self) -> None:
        """Note that the response is no stream: only its error body is read, without a deadline."""
        self._clock.cancel()

    def streaming(self, response: ResponseInfo) -> None:
        """Note that the response is a stream, and call `on_response` once, which may raise."""
        self._enter("first_event")
        self._streaming = True
        callback = self.options.on_response
        if callback is not None and not self._called_back:
            self._called_back = True
            callback(response)

    # The end of an attempt.

    def retry_delay(self, failure: PiNativeError) -> float | None:
        """Return the seconds to wait before another attempt; None if no retry is permitted.

        No retry is permitted once content was delivered, or once the model may have been thinking.
        """
        if self._held_back is None or self._waited_for_headers > MAX_HEADERS_SECONDS:
            return None
        delay = retry_delay(failure, self._tries, self._provider_failures)
        self._provider_failures += isinstance(failure, ProviderError)
        return delay

    @property
    def _waited_for_headers(self) -> float:
        """The seconds that the current request has waited for its response headers."""
        if self._sent_at is None:
            return 0.0
        return (self._headers_at or monotonic()) - self._sent_at

    def give_up_retrying(self) -> None:
        """Deliver the events that were held back: no other attempt follows."""
        if self._held_back is not None:
            events, self._held_back = self._held_back, None
            self.channel.push_all(events)

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
