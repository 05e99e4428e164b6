"""The worker's side of a turn: send, accept or refuse, read to the end, drain.

It holds the turn and never the stream, closes what it opened, and believes no exception before it
has looked whether the turn is over: after a cut, anything at all may be raised, even a clean end of
file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from .._http.gateway_response import GatewayResponse
from .._http.timeouts import Timeouts
from .._http.transport import Transport
from .._protocol.chunked import Piece
from .._protocol.decoder import EventDecoder
from .._protocol.error_response import MAX_BODY_BYTES, refusal
from .._protocol.request import Request
from .._protocol.rules import aborted, ended_early, is_progress, quote
from .._threads.timers import timer_thread
from .._types.events import AssistantMessageEvent
from .._types.failure import failure_of
from .._types.messages import AssistantMessage
from .._types.options import ResponseInfo, SseEvent
from ..errors import (
    AuthGatewayError,
    GatewayConnectionError,
    PiNativeError,
    StreamProtocolError,
)
from . import logs
from .retry import may_succeed_later
from .state import OverError, Turn, TurnOutcome
from .stream import outcome_of

_log = logging.getLogger("pi_native")

# What follows the end is read so that the connection can serve the next turn. Telling the outcome
# before that made a caller's next turn open a second connection in a quarter of the tries; waiting
# for a peer that never ends its answer would hold the caller up.
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 1024 * 1024
_HAND_OVER_SECONDS = 0.04
_ERROR_BODY_SECONDS = 10.0
_QUOTED_BYTES = 400


class TurnFailedError(Exception):
    """The provider failed the turn before it said anything, and may do better next time."""

    def __init__(self, message: AssistantMessage) -> None:
        super().__init__(message.error_message)
        self.failure = failure_of(message)


class Attempt:
    """One request and its answer. With `may_retry`, it leaves no trace until there is news."""

    def __init__(self, turn: Turn, transport: Transport, limits: Timeouts, may_retry: bool) -> None:
        self._turn = turn
        self._transport = transport
        self._limits = limits
        self._held_back: list[AssistantMessageEvent] | None = [] if may_retry else None
        self._progressed = False
        self._draining = False
        self._beginning = b""

    @property
    def may_be_repeated(self) -> bool:
        """Whether nothing was handed on yet."""
        return self._held_back is not None

    def run(self, request: Request) -> None:
        """Make the exchange. The outcome is held, not told, so that all is closed before."""
        model = self._turn.model
        logs.sending(request, f"{model.provider}/{model.id}", self._turn.attempts)
        answer = self._send(request)
        try:
            self._turn.response = answer.info
            self._turn.meter.headers_in()
            logs.answered(answer.info, self._turn.meter)
            self._accept(answer)
            self._turn.clock.enter("first_event", self._limits.first_event)
            self._turn.streaming = True
            self._turn.announce(answer.info)
            self._read(answer)
        finally:
            answer.close()

    def _send(self, request: Request) -> GatewayResponse:
        turn, limits = self._turn, self._limits
        if not self._transport.owns_sockets:
            return self._send_through_session(request)
        turn.clock.enter("connect", limits.connect)
        turn.check()
        return self._transport.send(
            request, turn.lifeline, connect_timeout=limits.connect, progress=self
        )

    def connecting(self) -> None:
        """Enter the phase "connect"."""
        self._turn.clock.enter("connect", self._limits.connect)

    def connected(self) -> None:
        """Enter the phase "headers"."""
        self._turn.clock.enter("headers", self._limits.first_event)

    def resending(self) -> None:
        """Count the request that replaces the one on a dead connection."""
        self._turn.meter.begin_attempt()

    def _send_through_session(self, request: Request) -> GatewayResponse:
        # Its sockets come into reach with the headers. Until then only its own timeouts end the
        # worker; the caller is freed by the clock all the same.
        limits = self._limits
        self._turn.clock.enter("headers", _sum(limits.connect, limits.first_event))
        answer = self._transport.send(
            request,
            self._turn.lifeline,
            connect_timeout=limits.connect,
            read_timeout=_longest(limits.first_event, limits.idle),
        )
        if (descriptor := answer.descriptor()) is not None:
            self._turn.lifeline.adopt(descriptor)
        return answer

    def _accept(self, answer: GatewayResponse) -> None:
        """Raise what an answer other than a stream means."""
        self._turn.check()
        if not 200 <= answer.info.status <= 299:
            self._turn.clock.stop()
            raise self._refusal(answer)
        if answer.has_no_body:
            raise _empty(answer.info)

    def _refusal(self, answer: GatewayResponse) -> AuthGatewayError:
        body = bytearray()
        limit = timer_thread().call_later(_ERROR_BODY_SECONDS, self._turn.lifeline.cut)
        # The status is the news; a body that breaks off, or never ends, does not hide it.
        with contextlib.suppress(PiNativeError):
            for data in answer.chunks():
                body += data
                if len(body) >= MAX_BODY_BYTES:
                    break
        limit.cancel()
        self._turn.check()
        return refusal(
            answer.info.status,
            answer.reason,
            answer.info.headers,
            bytes(body[:MAX_BODY_BYTES]),
            request_id=answer.info.request_id,
            retry_after=answer.retry_after(),
        )

    def _read(self, answer: GatewayResponse) -> None:
        turn = self._turn
        reader = EventDecoder(turn.model, turn.options.max_event_bytes, self._observer())
        answer.before_read = turn.channel.wake
        # The reader wakes up while its event is read: 10 to 18 us less of the 110 to 130 from the
        # peer's write to the `for` body.
        answer.after_read = turn.channel.rouse
        pieces = self._body(answer)
        outcome = self._events(reader, pieces) or self._incomplete(reader)
        turn.clock.stop()
        turn.hold(outcome)
        self._drain(reader, pieces)

    def _events(self, reader: EventDecoder, pieces: Iterator[Piece]) -> TurnOutcome | None:
        """Hand on the events until one ends the turn; None when the stream ends without one."""
        for piece in pieces:
            outcome = self._hand_on(reader.feed_piece(piece))
            if reader.closed:
                return outcome
        return self._hand_on(reader.finish())

    def _hand_on(self, events: Iterator[AssistantMessageEvent]) -> TurnOutcome | None:
        """Hand on what one read brought, all at once; returns the outcome if that was the end.

        Nothing is held back by that: the next possible event is behind the next read.
        """
        batch: list[AssistantMessageEvent] = []
        outcome = None
        try:
            for event in events:  # one by one: what came before a failure is handed on
                batch.append(event)
        finally:
            if batch:
                outcome = outcome_of(batch[-1])
                self._progress(batch)
                self._push(batch if outcome is None else batch[:-1])
        if outcome is not None:
            self._turn.channel.note(batch)
            self._refuse_to_end(outcome)
        return outcome

    def _push(self, batch: list[AssistantMessageEvent]) -> None:
        """Hand on a batch; while the turn may be tried again, what is no news is held back."""
        if self._held_back is not None:
            self._held_back += batch
            if not any(map(is_progress, batch)):
                return
            batch, self._held_back = self._held_back, None
        self._turn.channel.add(batch)  # whose readers are woken just before the next read

    def _progress(self, batch: list[AssistantMessageEvent]) -> None:
        news = any(map(is_progress, reversed(batch)))
        if self._turn.meter.saw(batch, news=news):
            logs.first_event(self._turn.meter)
        if not news:
            return
        if self._progressed:
            self._turn.clock.restart()
        else:
            self._turn.clock.enter("idle", self._limits.idle)
            self._progressed = True

    def _refuse_to_end(self, outcome: TurnOutcome) -> None:
        """Raise what has the turn tried again, if that is how it should go on."""
        message = outcome.result
        if self._held_back is None or message is None or not may_succeed_later(message):
            self.give_up_retrying()
        else:
            raise TurnFailedError(message)

    def give_up_retrying(self) -> None:
        """Hand on what was held back: the turn is not going to be tried again."""
        if self._held_back is not None:
            batch, self._held_back = self._held_back, None
            self._turn.channel.push_all(batch)

    def _incomplete(self, reader: EventDecoder) -> TurnOutcome:
        turn = self._turn
        self.give_up_retrying()
        if not reader.framed:
            self._check_kind()
        turn.truncated = True
        if turn.caller_aborted():
            return aborted(turn.model)
        outcome = ended_early(turn.model, turn.options.on_incomplete)
        return outcome if outcome.failure is None else turn.failed(outcome.failure)

    def _check_kind(self) -> None:
        """Refuse a page that is no event stream; read as one, it would be an empty success."""
        info = self._turn.response
        kind = info.headers.get("content-type", "") if info is not None else ""
        if "text/event-stream" in kind.lower() or not self._beginning.strip():
            return
        start = quote(self._beginning.decode("utf-8", "replace"))
        raise StreamProtocolError(f"the answer is no event stream but {kind or 'untyped'}: {start}")

    def _body(self, answer: GatewayResponse) -> Iterator[Piece]:
        drained = 0
        owns_sockets = self._transport.owns_sockets
        try:
            for piece in answer.pieces():
                self._check()
                if not owns_sockets:
                    self._let_go_of(answer)
                if not self._beginning:
                    self._beginning = piece.body()[:_QUOTED_BYTES]
                if self._draining:
                    drained += piece.size
                else:
                    self._turn.meter.read(piece.size)
                yield piece
                if drained > _DRAIN_BYTES:
                    return
        except GatewayConnectionError:
            self._check()
            self._turn.truncated = not self._draining
            raise
        if not owns_sockets:
            self._let_go_of(answer)
        self._check()

    def _let_go_of(self, answer: GatewayResponse) -> None:
        """A session's connection that was given back is the next turn's, not to be cut by this."""
        if not answer.has_connection:
            self._turn.lifeline.release()

    def _check(self) -> None:
        if self._turn.over and not self._draining:
            raise OverError

    def _drain(self, reader: EventDecoder, pieces: Iterator[Piece]) -> None:
        self._draining = True
        hand_over = timer_thread().call_later(_HAND_OVER_SECONDS, self._turn.channel.release)
        limit = timer_thread().call_later(_DRAIN_SECONDS, self._turn.lifeline.cut)
        # Whatever follows the end is dropped, and so is whatever is wrong with it.
        with contextlib.suppress(PiNativeError):
            for piece in pieces:
                for _ in reader.feed_piece(piece):
                    pass
        hand_over.cancel()
        limit.cancel()

    def _observer(self) -> Callable[[SseEvent], None] | None:
        callback = self._turn.options.on_sse_event
        if callback is None:
            return None

        def observe(frame: SseEvent) -> None:
            try:
                callback(frame)
            except Exception:  # noqa: BLE001 - an observer must not disturb what it observes
                _log.exception("on_sse_event raised")

        return observe


def _empty(info: ResponseInfo) -> AuthGatewayError:
    return AuthGatewayError(
        "auth-gateway returned empty body",
        status=info.status,
        headers=info.headers,
        request_id=info.request_id,
    )


def _longest(*limits: float | None) -> float | None:
    return None if None in limits else max(limit for limit in limits if limit is not None)


def _sum(*limits: float | None) -> float | None:
    return None if None in limits else sum(limit for limit in limits if limit is not None)
