"""The mapping from exceptions of requests, urllib3 and the system to errors of this package.

An error says what the operating system said, without the chain of wrappers around it: those hold
the request, and so the key.
"""

from __future__ import annotations

import http.client

import attrs
import requests
import urllib3.exceptions

from .._hints import timeout_hint
from ..errors import (
    ConfigurationError,
    ConnectionPhase,
    GatewayConnectionError,
    PiNativeError,
    StreamTimeoutError,
    TimeoutPhase,
)
from .hints import connection_hint, may_heal
from .route import Route

TimeoutPair = tuple[float | None, float | None]
"""For connecting, and for each read; in seconds."""

_TIMED_OUT: dict[TimeoutPhase, str] = {
    "connect": "timed out while connecting to the gateway",
    "headers": "timed out while waiting for the response headers",
    "first_event": "pi-native stream timed out while waiting for the first event",
    "idle": "pi-native stream stalled while waiting for the next event",
    "total": "the turn took longer than its total timeout",
}

_BAD_SETTINGS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)


@attrs.frozen
class Failure:
    """An exception while sending, and what is known about the request."""

    exception: Exception
    route: Route
    url: str
    connected: bool
    timeout: TimeoutPair
    took: float


def map_exception(failed: Failure) -> PiNativeError:
    """Return the error for a request that got no response."""
    exc = failed.exception
    if isinstance(exc, _BAD_SETTINGS):
        return _bad_settings(failed)
    if isinstance(exc, requests.exceptions.Timeout):
        return _timed_out(failed)
    if failed.connected:
        what = f"no response from {failed.route}"
        return connection_error(exc, "headers", what, failed.route)
    return connection_error(exc, "connect", f"cannot reach {failed.route}", failed.route)


def connection_error(
    exc: BaseException, phase: ConnectionPhase, what: str, route: Route | None = None
) -> GatewayConnectionError:
    """Return the error for a connection that failed, with the root of `exc` as its cause.

    The cause comes without its frames, which may hold the head of the request with the key.
    """
    root = _root(exc).with_traceback(None)
    hint = None if route is None else connection_hint(root, route, phase)
    failure = GatewayConnectionError(f"{what}: {_text(exc)}", phase=phase, hint=hint)
    failure.retryable = may_heal(root)
    root.__context__ = None
    failure.__cause__ = root
    return failure


def timeout_error(
    phase: TimeoutPhase, limit: float | None, stage: str | None
) -> StreamTimeoutError:
    """Return the error for a time limit, in seconds, that was exceeded.

    `stage` says what a new connection waited for. The texts for events are the protocol's.
    """
    text = _TIMED_OUT[phase]
    if phase == "connect" and stage:
        text = f"{text} ({stage})"
    return StreamTimeoutError(text, phase=phase, limit=limit, hint=timeout_hint(phase, limit))


def _bad_settings(failed: Failure) -> PiNativeError:
    exc, origin = failed.exception, failed.route.origin
    if isinstance(_root(exc), urllib3.exceptions.InvalidHeader):
        # requests checks our headers itself; this one is the response's, which has two lengths.
        return connection_error(exc, "headers", f"no response from {failed.route}", failed.route)
    if isinstance(exc, requests.exceptions.InvalidSchema) and "SOCKS" in str(exc):
        return ConfigurationError(
            f"cannot send to {failed.route}",
            hint="SOCKS support is missing: pip install 'requests[socks]'",
        )
    if isinstance(exc, (requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)):
        # Not quoted: a text that is not a URL may hold a password anywhere.
        words = 'a gateway\'s URL begins with "http://" or "https://"'
        return ConfigurationError(f"cannot send to the base_url as it is: {words}")
    if failed.route.proxy is not None:
        # Not quoted either: the exception quotes the proxy's URL with its password.
        return ConfigurationError(f"cannot send to {failed.route}: the proxy is not a usable URL")
    words = _text(exc).replace(failed.url, origin)  # which may hold a password
    return ConfigurationError(f"cannot send to {origin!r}: {words}")


def _timed_out(failed: Failure) -> StreamTimeoutError:
    """Return the error for a timeout of a session's own."""
    connect, read = failed.timeout
    # A TLS handshake gets the connect timeout, but urllib3 calls its end a read timeout.
    too_soon = connect is not None and (read is None or connect <= failed.took < read)
    if isinstance(failed.exception, requests.exceptions.ConnectTimeout) or too_soon:
        return StreamTimeoutError(
            f"timed out while connecting to {failed.route}",
            phase="connect",
            limit=connect,
            hint=timeout_hint("connect", connect),
        )
    return StreamTimeoutError(
        f"timed out while waiting for the response headers of {failed.route}",
        phase="headers",
        limit=read,
        hint=timeout_hint("headers", read),
    )


def _text(exc: BaseException) -> str:
    root = _root(exc)
    if isinstance(root, http.client.IncompleteRead) and root.expected is None:
        return "the connection was closed"  # its own text counts the bytes of a single read
    return str(root) or type(root).__name__


def _root(exc: BaseException) -> BaseException:
    """Return the exception inside of the wrappers of urllib3 and requests."""
    seen = {id(exc)}
    while (inner := _inside(exc)) is not None and id(inner) not in seen:
        seen.add(id(inner))
        exc = inner
    return exc


def _inside(exc: BaseException) -> BaseException | None:
    candidates = (getattr(exc, "reason", None), *exc.args[::-1], exc.__cause__)
    return next((inner for inner in candidates if isinstance(inner, BaseException)), None)
