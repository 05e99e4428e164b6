"""The start of a turn: its stream, and the worker thread that makes the attempts."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import TypeAlias

from .._http.timeouts import resolve_timeouts
from .._http.transport import Transport
from .._protocol.request import Request, turn_request
from .._threads.real_threads import thread_failure
from .._threads.signals import is_set, reason_of
from .._threads.without_owner import without_owner
from .._types.messages import AssistantMessage
from .._types.options import RetryInfo, StreamOptions
from .._types.request import Context, Model
from ..errors import AuthenticationError, PiNativeError
from .attempt import TurnFailedError, run_attempt
from .logs import start_log
from .observers import TurnObserver
from .state import OverError
from .stream import AssistantMessageEventStream
from .telemetry import start_span
from .turn import Turn

_numbers = itertools.count(1)

Renew: TypeAlias = Callable[[Request], Request | None]
"""A function that returns a request with a new key after a 401; None if the key has not changed."""


def start_call(
    model: Model,
    context: Context,
    options: StreamOptions,
    transport: Transport,
    keep: Callable[[AssistantMessage], object] | None = None,
    renew: Renew | None = None,
) -> AssistantMessageEventStream:
    """Start a turn and return its stream, which raises any error of the call.

    `keep` is called with a complete answer before any reader learns that the turn has ended; `Turn`
    states its restrictions.
    """
    found: list[TurnObserver | None] = [start_log(), start_span(model, options)]
    try:
        turn = Turn(model, options, keep, [observer for observer in found if observer is not None])
    except RuntimeError as exc:  # the timer thread cannot be started
        return failed_call(thread_failure(exc))
    stream = without_owner(lambda: AssistantMessageEventStream(turn.channel, turn))
    try:
        _start(turn, context, transport, renew)
    except Exception as exc:  # noqa: BLE001 - the call does not raise, its stream does
        turn.fail(exc)
        turn.finish()
    return stream


def failed_call(failure: PiNativeError) -> AssistantMessageEventStream:
    """Return the stream of a turn that could not be set up."""
    stream = AssistantMessageEventStream()
    stream.fail(failure)
    return stream


def _start(turn: Turn, context: Context, transport: Transport, renew: Renew | None) -> None:
    if is_set(turn.options.signal):
        turn.abort(reason_of(turn.options.signal))
        return
    limits = resolve_timeouts(turn.options, os.environ)
    # Serialised here and not by the worker: the caller may change the conversation after the call.
    request = turn_request(turn.model, context, turn.options)
    turn.begin(limits)
    turn.worker = threading.Thread(
        target=_work,
        args=(turn, request, transport, renew),
        name=f"pi-native-{next(_numbers)}",
        daemon=True,
    )
    try:
        turn.worker.start()
    except RuntimeError as exc:
        turn.worker = None  # joining a thread that was never started raises another RuntimeError
        raise thread_failure(exc) from exc


def _work(
    turn: Turn,
    request: Request,
    transport: Transport,
    renew: Renew | None,
) -> None:
    try:
        turn.started()
        for number in itertools.count(1):
            turn.check()
            try:
                retry = _attempt(turn, request, transport, number)
            except AuthenticationError as exc:
                renewed = renew(request) if renew and exc.status == 401 else None
                if renewed is None:
                    raise
                request, renew = renewed, None
                continue
            if retry is None:
                return
            turn.retrying(retry)
            turn.pause(retry.delay)
            del retry
    except OverError:
        pass
    except BaseException as exc:  # noqa: BLE001 - no reader may wait for a worker that has ended
        turn.fail(exc)
    finally:
        turn.finish()


def _attempt(turn: Turn, request: Request, transport: Transport, number: int) -> RetryInfo | None:
    """Make an attempt; return its failure and the delay if a retry follows, else None."""
    may_retry = number <= turn.options.max_retries
    try:
        run_attempt(turn, transport, request, may_retry=may_retry)
    except TurnFailedError as exc:
        return RetryInfo(number, exc.delay, exc.failure)
    except PiNativeError as exc:
        delay = turn.retry_delay(exc)
        if delay is None:
            turn.give_up_retrying()
            raise
        return RetryInfo(number, delay, exc)
    return None
