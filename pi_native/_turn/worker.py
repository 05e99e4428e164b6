"""A call is a turn, its stream, and the worker thread that makes the exchange."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable

from .._http.timeouts import Timeouts, resolve_timeouts
from .._http.transport import Transport
from .._protocol.request import Request, turn_request
from .._types.messages import AssistantMessage
from .._types.options import RetryInfo, StreamOptions
from .._types.request import Context, Model
from ..errors import ConfigurationError, PiNativeError
from .attempt import Attempt, TurnFailedError
from .retry import retry_delay, turn_delay
from .state import OverError, Turn
from .stream import AssistantMessageEventStream
from .telemetry import enter_span, start_span

_log = logging.getLogger("pi_native")
_numbers = itertools.count(1)


def start_call(
    model: Model,
    context: Context,
    options: StreamOptions,
    transport: Transport,
    keep: Callable[[AssistantMessage], object] | None = None,
) -> AssistantMessageEventStream:
    """Start a turn; whatever is wrong with it comes out of its stream.

    `keep` is called with its answer, if it has one, before any reader learns that it has ended. It
    must not raise, or take a lock: whatever thread ends the turn calls it, a signal handler's too.
    """
    turn = Turn(model, options, keep)
    turn.span = start_span(model, options)
    stream = AssistantMessageEventStream(turn.channel, turn)
    try:
        _start(turn, context, transport)
    except Exception as exc:  # noqa: BLE001 - the call does not raise, its stream does
        turn.fail(exc)
        turn.finish()
    return stream


def failed_call(failure: ConfigurationError) -> AssistantMessageEventStream:
    """The stream of a turn that could not be set up at all."""
    stream = AssistantMessageEventStream()
    stream.fail(failure)
    return stream


def _start(turn: Turn, context: Context, transport: Transport) -> None:
    if turn.caller_aborted():
        turn.abort_as_asked()
        return
    limits = resolve_timeouts(turn.options, os.environ)
    # Written here and not by the worker: the caller may change the conversation after the call.
    request = turn_request(turn.model, context, turn.options)
    turn.begin(limits.total)
    turn.worker = threading.Thread(
        target=_work,
        args=(turn, request, transport, limits),
        name=f"pi-native-{next(_numbers)}",
        daemon=True,
    )
    try:
        turn.worker.start()
    except RuntimeError as exc:
        raise PiNativeError(f"no thread for the stream: {exc}") from exc


def _work(turn: Turn, request: Request, transport: Transport, limits: Timeouts) -> None:
    enter_span(turn.span)
    try:
        for attempt in itertools.count(1):
            turn.meter.begin_attempt()
            may_retry = attempt <= turn.options.max_retries
            retry = _attempt(Attempt(turn, transport, limits, may_retry), request, attempt)
            if retry is None:
                return
            turn.check()
            _tell(retry, turn.options.on_retry)
            turn.pause(retry.delay)
            del retry
    except OverError:
        pass
    except BaseException as exc:  # noqa: BLE001 - no reader may wait for a dead worker
        turn.fail(exc)
    finally:
        turn.finish()


def _attempt(exchange: Attempt, request: Request, attempt: int) -> RetryInfo | None:
    """Make the exchange; returns how it failed and when to make it again, if it should be."""
    try:
        exchange.run(request)
    except TurnFailedError as exc:
        return RetryInfo(attempt, turn_delay(attempt), exc.failure)
    except PiNativeError as exc:
        delay = retry_delay(exc, attempt) if exchange.may_be_repeated else None
        if delay is None:
            exchange.give_up_retrying()
            raise
        return RetryInfo(attempt, delay, exc)
    return None


def _tell(retry: RetryInfo, callback: Callable[[RetryInfo], object] | None) -> None:
    # The failure's text is not logged: a gateway may quote the conversation in it.
    _log.info(
        "attempt %d failed (%s), trying again in %.1f s",
        retry.attempt,
        type(retry.failure).__name__,
        retry.delay,
    )
    try:
        if callback is not None:
            callback(retry)
    except Exception:  # noqa: BLE001 - an observer must not disturb what it observes
        _log.exception("on_retry raised")
