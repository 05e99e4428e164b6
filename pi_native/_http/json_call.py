"""One request with one JSON response, with the time limits of a turn.

The request runs in a worker thread of its own. So its caller can be interrupted with Ctrl-C, and is
free when a limit passes, also while a host name is looked up or a socket ignores a shutdown.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from .._hints import NOT_A_GATEWAY
from .._protocol.error_response import MAX_BODY_BYTES, refusal
from .._protocol.request import Request
from .._protocol.rules import quote
from .._protocol.strict_json import parse_json
from .._threads.real_threads import thread_failure
from .._threads.timers import timer_thread
from ..errors import StreamProtocolError, StreamTimeoutError, TimeoutPhase
from .connection import SocketHandle
from .errors import timeout_error
from .gateway_response import GatewayResponse
from .timeouts import Limits
from .transport import Transport

_MAX_BODY_BYTES = 64 * 1024 * 1024
_LOOK_SECONDS = 0.2  # a signal that comes just before a wait is noticed when the wait ends


def get(base_url: str, path: str, headers: Mapping[str, str]) -> Request:
    """Return a GET request for one of the gateway's pages."""
    return Request("GET", base_url + path, dict(headers))


def fetch_json(transport: Transport, request: Request, limits: Limits) -> dict[str, Any]:
    """Return the JSON object of the response. Raises what the stream of a turn would raise."""
    try:
        call = _JsonCall(transport, request, limits)
    except RuntimeError as exc:  # the timer thread cannot be started
        raise thread_failure(exc) from exc
    return call.run()


class _JsonCall:
    """One request, its worker thread and its time limits."""

    def __init__(self, transport: Transport, request: Request, limits: Limits) -> None:
        self._transport = transport
        self._request = request
        self._limits = limits
        self._handle = SocketHandle()
        self._clock = timer_thread().timer(lenient=True)
        self._done = threading.Event()
        self._result: dict[str, Any] = {}
        self._failure: BaseException | None = None
        self._timeout: StreamTimeoutError | None = None

    def run(self) -> dict[str, Any]:
        """Start the worker thread and wait for it."""
        total = timer_thread().timer()
        total.start(self._limits["total"], lambda: self._expired("total"))
        try:
            self._start_worker()
            while not self._done.wait(_LOOK_SECONDS):
                pass
        finally:
            self._clock.cancel()
            total.cancel()
            self._handle.cut()
        try:
            if (failure := self._timeout or self._failure) is not None:
                raise failure
            return self._result
        finally:
            del failure, self._failure, self._timeout

    def connecting(self) -> None:
        """Enter the phase "connect"."""
        self._enter("connect")

    def connected(self) -> None:
        """Enter the phase "headers"."""
        self._enter("headers")

    def resending(self) -> None:
        """Do nothing: attempts are not counted here."""

    def _start_worker(self) -> None:
        self.connecting()
        worker = threading.Thread(target=self._work, name="gateway-call", daemon=True)
        try:
            worker.start()
        except RuntimeError as exc:
            raise thread_failure(exc) from exc

    def _work(self) -> None:
        try:
            self._result = self._ask()
        except BaseException as exc:  # noqa: BLE001 - raised by the caller
            self._failure = exc
        finally:
            self._clock.cancel()  # the caller may have stopped it before this thread's last phase
            self._handle.release()
            self._done.set()

    def _ask(self) -> dict[str, Any]:
        owns_sockets = self._transport.owns_sockets
        response = self._transport.send(
            self._request,
            self._handle,
            connect_timeout=self._limits["connect"],
            read_timeout=None if owns_sockets else self._limits["headers"],
            progress=self,
        )
        try:
            if not owns_sockets and (descriptor := response.descriptor()) is not None:
                self._handle.adopt(descriptor)
            self._enter("first_event")
            return self._read(response)
        finally:
            response.close()

    def _read(self, response: GatewayResponse) -> dict[str, Any]:
        info = response.info
        ok = 200 <= info.status <= 299
        body = _collect(response, _MAX_BODY_BYTES if ok else MAX_BODY_BYTES)
        if not ok:
            failure = refusal(
                info.status,
                response.reason,
                info.headers,
                body,
                request_id=info.request_id,
                retry_after=response.retry_after(),
                authorization=response.authorization,
            )
            if info.status == 404:
                failure.hint = NOT_A_GATEWAY  # for a turn it is an unknown model
            raise failure
        return _object(body)

    def _enter(self, phase: TimeoutPhase) -> None:
        self._clock.start(self._limits[phase], lambda: self._expired(phase))

    def _expired(self, phase: TimeoutPhase) -> None:
        self._timeout = timeout_error(phase, self._limits[phase], self._handle.stage)
        self._done.set()
        self._handle.cut()


def _collect(response: GatewayResponse, limit: int) -> bytes:
    body = bytearray()
    for data in response.chunks():
        body += data
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _object(body: bytes) -> dict[str, Any]:
    text = body.decode("utf-8", "replace")
    try:
        parsed = parse_json(text)
    except (ValueError, RecursionError) as exc:
        problem = f"the response is not JSON ({exc}): {quote(text)}"
        raise StreamProtocolError(problem, hint=NOT_A_GATEWAY) from None
    if not isinstance(parsed, dict):
        problem = f"the response is not a JSON object: {quote(text)}"
        raise StreamProtocolError(problem, hint=NOT_A_GATEWAY)
    return parsed
