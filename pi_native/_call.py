"""A call is a turn, its stream, and the worker thread that makes the exchange."""

from __future__ import annotations

import itertools
import os
import threading

from ._exchange import Exchange
from ._http import Transport
from ._limits import Limits, resolve_limits
from ._models import Context, Model
from ._options import StreamOptions
from ._request import Request, turn_request
from ._stream import AssistantMessageEventStream
from ._turn import OverError, Turn

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
    turn.worker.start()


def _work(turn: Turn, request: Request, transport: Transport, limits: Limits) -> None:
    try:
        Exchange(turn, transport, limits).run(request)
    except OverError:
        pass
    except BaseException as exc:  # noqa: BLE001 - no reader may wait for a dead worker
        turn.fail(exc)
    finally:
        turn.finish()
