"""Sending one request through requests, to the gateway and nowhere else.

Defaults of requests that are turned off here: `~/.netrc` replaces an Authorization header unless
`auth=` is a callable; the environment's proxy is used even for loopback; cookies are kept and sent
back; a redirect is followed with the body, and if not, its own body is read to the end.
"""

from __future__ import annotations

import logging
import os
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

from .._threads.clock import monotonic
from ..errors import GatewayConnectionError, PiNativeError
from .adapter import CancellableAdapter
from .connection import RECHECK_SECONDS, SendProgress, SocketHandle
from .errors import Failure, TimeoutPair, map_exception
from .gateway_response import GatewayResponse
from .route import Route, check_proxy, find_route, is_loopback, origin, request_settings
from .sending import DeadConnectionError, in_this_thread

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .observer import Observe

__all__ = ["Transport", "is_loopback", "shared_transport"]

_log = logging.getLogger("pi_native")
_IDLE_CONNECTIONS = 16
_CONNECT_MARGIN = 1.0  # seconds; the turn's own timer is to end the wait


class Transport:
    """Sends requests through the caller's session, or through a private one.

    The private session is made on first use, and once more in a forked child: a socket belongs to
    one process. The child keeps the parent's session unused; its locks may be held there.
    """

    def __init__(
        self, session: requests.Session | None = None, *, observe: Observe | None = None
    ) -> None:
        self.observe = observe
        self._given = session
        self._own: dict[int, requests.Session] = {}  # by process

    @property
    def owns_sockets(self) -> bool:
        """True when a `SocketHandle` has the socket from the start."""
        return self._given is None

    def send(
        self,
        request: Request,
        handle: SocketHandle,
        *,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        progress: SendProgress | None = None,
    ) -> GatewayResponse:
        """Send a request and return the response once its head is in.

        The timeouts are in seconds. A private session's sockets are cut by `handle` instead, and
        the timeouts only end what no cut ends. Raises `ConfigurationError`,
        `GatewayConnectionError` and `StreamTimeoutError`.
        """
        timeout = connect_timeout, read_timeout
        if self.owns_sockets:
            margin = None if connect_timeout is None else connect_timeout + _CONNECT_MARGIN
            timeout = margin, RECHECK_SECONDS
        observer = None if self.observe is None else self.observe(request, handle)
        if observer is None:
            return self._send(request, handle, timeout, progress)
        try:
            response = self._send(request, handle, timeout, progress)
        except PiNativeError as exc:
            observer.failed(exc)
            raise
        response.observer = observer
        observer.answered(response)
        return response

    def close(self) -> None:
        """Close the connections of the private session. A given session is left open."""
        session = self._own.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def _send(
        self,
        request: Request,
        handle: SocketHandle,
        timeout: TimeoutPair,
        progress: SendProgress | None,
    ) -> GatewayResponse:
        """Send a request; once more for each kept connection that turns out to be dead."""
        while True:
            try:
                return self._send_once(request, handle, timeout, progress)
            except GatewayConnectionError as exc:
                if handle.is_cut or not isinstance(exc.__cause__, DeadConnectionError):
                    raise
            _log.debug("a kept connection was closed by the gateway; connecting again")
            if progress is not None:
                progress.resending()

    def _send_once(
        self,
        request: Request,
        handle: SocketHandle,
        timeout: TimeoutPair,
        progress: SendProgress | None,
    ) -> GatewayResponse:
        session = self._given or self._session()
        began = monotonic()
        settings: dict[str, Any] | None = None
        try:
            prepared = _prepare(session, request)
            settings = request_settings(session, str(prepared.url))
            check_proxy(str(prepared.url), settings)
            with in_this_thread(handle, progress):
                return GatewayResponse(_response(session, prepared, timeout, settings))
        except PiNativeError:
            raise
        except Exception as exc:  # noqa: BLE001 - an adapter may raise anything
            took = monotonic() - began
            route = find_route(request.url, settings) if settings else Route(origin(request.url))
            failed = Failure(exc, route, request.url, handle.stage is None, timeout, took)
            failure = map_exception(failed)
            del failed
        # Raised outside of the handler: the exception of requests would be its context, and that
        # holds the request with the key.
        try:
            raise failure
        finally:
            del failure  # else it holds its frame, which holds it

    def _session(self) -> requests.Session:
        process = os.getpid()
        # No lock, which a fork could copy while it is held: `setdefault` is atomic, and a session
        # that loses has not connected to anything.
        return self._own.get(process) or self._own.setdefault(process, _PrivateSession())


class _PrivateSession(requests.Session):
    """A session that keeps connections, and nothing else of a response."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = "pi-native-python"
        for scheme in ("http://", "https://"):
            self.mount(scheme, CancellableAdapter(pool_maxsize=_IDLE_CONNECTIONS))


_shared = Transport()


def shared_transport() -> Transport:
    """Return the process's transport, for calls without a session."""
    return _shared


class _Redirected(Exception):
    """Carries the response of a redirect out of requests, before its body is read."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


def _stop_at_redirect(response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
    if response.is_redirect:
        raise _Redirected(response)


class _KeepAuthorization(AuthBase):
    """An `auth=` that changes nothing; its presence turns off netrc and the session's own auth."""

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        return prepared


def _prepare(session: requests.Session, request: Request) -> requests.PreparedRequest:
    prepared = session.prepare_request(
        requests.Request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            auth=_auth_for(session, request),
        )
    )
    # Not with the request: its hooks would replace the session's.
    prepared.register_hook("response", _stop_at_redirect)  # type: ignore[no-untyped-call]
    return prepared


def _response(
    session: requests.Session,
    prepared: requests.PreparedRequest,
    timeout: TimeoutPair,
    settings: dict[str, Any],
) -> requests.Response:
    try:
        return session.send(prepared, timeout=timeout, allow_redirects=False, **settings)
    except _Redirected as redirected:
        return redirected.response


def _auth_for(session: requests.Session, request: Request) -> _KeepAuthorization | None:
    has_bearer = any(name.lower() == "authorization" for name in request.headers)
    return _KeepAuthorization() if has_bearer or isinstance(session, _PrivateSession) else None
