"""A call is a turn, its stream, and the worker thread that makes the exchange."""

from __future__ import annotations

import itertools
import logging
import os
import threading

from ._backoff import retry_delay, turn_delay
from ._exchange import Exchange, TurnFailedError
from ._http import Transport
from ._limits import Limits, resolve_limits
from ._models import Context, Model
from ._options import StreamOptions
from ._request import Request, turn_request
from ._stream import AssistantMessageEventStream
from ._turn import OverError, Turn
from .errors import PiNativeError

_log = logging.getLogger("pi_native")
_numbers = itertools.count(1)


def start_call(
    model: Model, context: Context, options: StreamOptions, transport: Transport
) -> AssistantMessageEventStream:
    """Start a turn; whatever is wrong with it comes out of its stream."""
    turn = Turn(model, options)
    stream = AssistantMessageEventStream(turn.channel, turn)
    try:
        _start(turn, context, transport)
    except Exception as exc:  # noqa: BLE001 - the call does not raise, its stream does
        turn.fail(exc)
        turn.finish()
    return stream


def _start(turn: Turn, context: Context, transport: Transport) -> None:
    if turn.caller_aborted():
        turn.abort_as_asked()
        return
    limits = resolve_limits(turn.options, os.environ)
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


def _work(turn: Turn, request: Request, transport: Transport, limits: Limits) -> None:
    try:
        for attempt in itertools.count(1):
            may_retry = attempt <= turn.options.max_retries
            delay = _attempt(Exchange(turn, transport, limits, may_retry), request, attempt)
            if delay is None:
                return
            turn.check()
            _log.info("attempt %d failed, trying again in %.1f s", attempt, delay)
            turn.pause(delay)
    except OverError:
        pass
    except BaseException as exc:  # noqa: BLE001 - no reader may wait for a dead worker
        turn.fail(exc)
    finally:
        turn.finish()


def _attempt(exchange: Exchange, request: Request, attempt: int) -> float | None:
    """Make the exchange; returns the seconds after which to make it again, if it should be."""
    try:
        exchange.run(request)
    except TurnFailedError:
        return turn_delay(attempt)
    except PiNativeError as exc:
        delay = retry_delay(exc, attempt) if exchange.may_be_repeated else None
        if delay is None:
            exchange.give_up_retrying()
            raise
        return delay
    return None
