"""One HTTP exchange, through requests: what is sent goes to the gateway and nowhere else.

What requests does by default, and is kept from doing here: `~/.netrc` replaces an Authorization
header unless `auth=` is a callable; a proxy from the environment is used even for loopback; cookies
are kept and sent back; a redirect is followed with the body, and even when it is not, its own body
is read to the end, however long it is.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from ..errors import ConnectionPhase, GatewayConnectionError, PiNativeError
from .connection import CancellableAdapter, SocketHandle
from .errors import BAD_SETUP, TimeoutPair, lost, timed_out, unusable
from .gateway_response import GatewayResponse

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .observer import Tap

_log = logging.getLogger("pi_native")
_IDLE_CONNECTIONS = 16


class Transport:
    """Sends requests through the caller's session, or through one of its own.

    Its own session is made on first use, and anew in a forked child: a socket has one owner. The
    parent's is kept there, unused; its locks may have been copied in a locked state.
    """

    def __init__(self, session: requests.Session | None = None, *, tap: Tap | None = None) -> None:
        self.tap = tap
        self._given = session
        self._own: dict[int, requests.Session] = {}  # by process

    @property
    def owns_sockets(self) -> bool:
        """Whether a lifeline reaches the sockets from their birth on."""
        return self._given is None

    def send(
        self,
        request: Request,
        lifeline: SocketHandle,
        *,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
    ) -> GatewayResponse:
        """Send it and wait for the answer's headers.

        The timeouts, in seconds, are only for a session whose sockets a lifeline does not reach.
        Raises `ConfigurationError` and `GatewayConnectionError`.
        """
        timeout = connect_timeout, read_timeout
        tap = self.tap
        watch = None if tap is None else tap.sending(request, lifeline)
        if watch is None:
            return self._send_anew(request, lifeline, timeout)
        try:
            answer = self._send_anew(request, lifeline, timeout)
        except PiNativeError as exc:
            watch.failed(exc)
            raise
        answer.watch = watch
        watch.answered(answer)
        return answer

    def _send_anew(
        self, request: Request, lifeline: SocketHandle, timeout: TimeoutPair
    ) -> GatewayResponse:
        """Send it; again, if a kept connection had been closed before."""
        while True:
            try:
                return self._send(request, lifeline, timeout)
            except GatewayConnectionError as exc:
                if not _was_stale(exc, lifeline):
                    raise
                _log.debug("a kept connection was closed by the gateway; connecting anew")

    def _send(
        self, request: Request, lifeline: SocketHandle, timeout: TimeoutPair
    ) -> GatewayResponse:
        session = self._given or self._session()
        where = _origin(request.url)
        began = time.monotonic()
        failure: PiNativeError
        try:
            with lifeline.running():
                return GatewayResponse(_send(session, request, timeout))
        except BAD_SETUP as exc:
            failure = unusable(exc, request.url, where)
        except requests.exceptions.Timeout as exc:
            failure = timed_out(exc, timeout, time.monotonic() - began)
        except Exception as exc:  # noqa: BLE001 - the error is ours, whatever an adapter raises
            phase: ConnectionPhase = "headers" if lifeline.connected else "connect"
            what = "no answer from" if lifeline.connected else "cannot reach"
            failure = lost(exc, phase, f"{what} {where}")
        # Not where it was caught: requests' exception would be its context, and holds the request.
        try:
            raise failure
        finally:
            del failure  # else it holds its frame, which holds it

    def close(self) -> None:
        """Close the connections of its own session; the caller's is the caller's."""
        session = self._own.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def _session(self) -> requests.Session:
        process = os.getpid()
        # No lock, which a fork could copy while it is held: `setdefault` is atomic, and a session
        # that was made in vain has not connected to anything.
        return self._own.get(process) or self._own.setdefault(process, _PrivateSession())


class _PrivateSession(requests.Session):
    """A session that keeps nothing of what a gateway says but the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = "pi-native-python"
        for scheme in ("http://", "https://"):
            self.mount(scheme, CancellableAdapter(pool_maxsize=_IDLE_CONNECTIONS))


_shared = Transport()


def shared_transport() -> Transport:
    """The process's transport, for calls that bring no session."""
    return _shared


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine itself, by name or by address."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Redirected(Exception):
    """Carries a redirect's answer out of requests, before its body is read."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


def _stop_at_redirect(response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
    if response.is_redirect:
        raise _Redirected(response)


class _KeepAuthorization(AuthBase):
    """An `auth=` that does nothing: that there is one keeps netrc and the session's own away."""

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        return prepared


def _send(session: requests.Session, request: Request, timeout: TimeoutPair) -> requests.Response:
    prepared = session.prepare_request(
        requests.Request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            auth=_auth_for(session, request),
        )
    )
    # Not with the request: its hooks would take the place of the session's.
    prepared.register_hook("response", _stop_at_redirect)  # type: ignore[no-untyped-call]
    settings = session.merge_environment_settings(prepared.url, {}, True, None, None)
    if is_loopback(request.url):
        settings["proxies"] = {}
    try:
        return session.send(prepared, timeout=timeout, allow_redirects=False, **settings)
    except _Redirected as redirected:
        return redirected.response


def _auth_for(session: requests.Session, request: Request) -> _KeepAuthorization | None:
    has_bearer = any(name.lower() == "authorization" for name in request.headers)
    return _KeepAuthorization() if has_bearer or isinstance(session, _PrivateSession) else None


def _was_stale(exc: GatewayConnectionError, lifeline: SocketHandle) -> bool:
    """Whether a connection from the turn before had been closed when this request met it."""
    return lifeline.reused and not lifeline.is_cut and isinstance(exc.__cause__, ConnectionError)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"  # which is not shown: a password may stand in it
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
