"""One question with one JSON answer, asked in the caller's own thread.

The deadlines are those of a turn: for the connection, the headers, the body, and all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._protocol.error_response import MAX_BODY_BYTES, refusal
from .._protocol.request import Request
from .._protocol.rules import quote
from .._protocol.strict_json import parse_json
from .._threads.timers import PhaseClock, timer_thread
from ..errors import PiNativeError, StreamProtocolError, StreamTimeoutError, TimeoutPhase
from .connection import SocketHandle
from .gateway_response import GatewayResponse
from .timeouts import Timeouts
from .transport import Transport

_MAX_ANSWER_BYTES = 64 * 1024 * 1024


def fetch_json(transport: Transport, request: Request, limits: Timeouts) -> dict[str, Any]:
    """The JSON object that the gateway answers. Raises what a turn's stream would raise."""
    return _Fetch(transport, limits).run(request)


class _Fetch:
    def __init__(self, transport: Transport, limits: Timeouts) -> None:
        self._transport = transport
        self._limits = limits
        self._lifeline = SocketHandle()
        self._clock = PhaseClock(self._expired)
        self._timeout: StreamTimeoutError | None = None
        self._total = timer_thread().timer()

    def run(self, request: Request) -> dict[str, Any]:
        limits, lifeline = self._limits, self._lifeline
        self._clock.enter("connect", limits.connect)
        lifeline.connect_timeout = limits.connect
        lifeline.on_connecting = lambda: self._clock.enter("connect", limits.connect)
        lifeline.on_connected = lambda: self._clock.enter("headers", limits.first_event)
        if (total := limits.total) is not None:
            self._total.start(total, lambda: self._expired("total", total))
        try:
            return self._ask(request)
        except PiNativeError:
            if self._timeout is None:
                raise
        finally:
            self._clock.close()
            self._total.cancel()
            lifeline.forget_callbacks()
            lifeline.release()
        raise self._timeout

    def _ask(self, request: Request) -> dict[str, Any]:
        seam = self._transport.owns_sockets
        answer = self._transport.send(
            request,
            self._lifeline,
            connect_timeout=None if seam else self._limits.connect,
            read_timeout=None if seam else self._limits.first_event,
        )
        try:
            self._clock.enter("first_event", self._limits.first_event)
            return self._read(answer)
        finally:
            answer.close()

    def _read(self, answer: GatewayResponse) -> dict[str, Any]:
        info = answer.info
        ok = 200 <= info.status <= 299
        body = _collect(answer, _MAX_ANSWER_BYTES if ok else MAX_BODY_BYTES)
        if self._timeout is not None:
            raise self._timeout
        if not ok:
            raise refusal(
                info.status,
                answer.reason,
                info.headers,
                body,
                request_id=info.request_id,
                retry_after=answer.retry_after(),
            )
        return _object(body)

    def _expired(self, phase: TimeoutPhase, limit: float) -> None:
        self._timeout = StreamTimeoutError(
            f"the gateway did not answer in time ({phase})", phase=phase, limit=limit
        )
        self._lifeline.cut()


def _collect(answer: GatewayResponse, limit: int) -> bytes:
    body = bytearray()
    for data in answer.chunks():
        body += data
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _object(body: bytes) -> dict[str, Any]:
    text = body.decode("utf-8", "replace")
    try:
        parsed = parse_json(text)
    except (ValueError, RecursionError) as exc:
        raise StreamProtocolError(f"the answer is not JSON ({exc}): {quote(text)}") from None
    if not isinstance(parsed, dict):
        raise StreamProtocolError(f"the answer is not a JSON object: {quote(text)}")
    return parsed


def get(base_url: str, path: str, headers: Mapping[str, str]) -> Request:
    """A GET of one of the gateway's own pages."""
    return Request("GET", base_url + path, dict(headers))
