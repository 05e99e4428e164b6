"""What goes wrong on the road, as errors of ours.

They say what the operating system said, without the chain of wrappers that urllib3 and requests
make of it: those hold the request, and so the key.
"""

from __future__ import annotations

import http.client

import requests
import urllib3.exceptions

from ..errors import (
    ConfigurationError,
    ConnectionPhase,
    GatewayConnectionError,
    PiNativeError,
    StreamTimeoutError,
)

TimeoutPair = tuple[float | None, float | None]
"""For connecting, and for each read; in seconds."""

BAD_SETUP = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)


def unusable(exc: Exception, url: str, where: str) -> PiNativeError:
    """The failure of a request that requests would not send, to `where`, as `url` is private."""
    if isinstance(_root(exc), urllib3.exceptions.InvalidHeader):
        # Not ours, which requests looks at itself, but the answer's: it has two lengths.
        return lost(exc, "headers", f"no answer from {where}")
    if isinstance(exc, (requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)):
        # Not quoted: what is no URL may hold a password anywhere.
        words = 'a gateway\'s URL begins with "http://" or "https://"'
        return ConfigurationError(f"cannot send to the base_url as it is: {words}")
    words = _words(exc).replace(url, where)  # which may hold a password
    return ConfigurationError(f"cannot send to {where!r}: {words}")


def timed_out(
    exc: requests.exceptions.Timeout, timeout: TimeoutPair, took: float
) -> StreamTimeoutError:
    """The failure of a session's own timeout, after so many seconds."""
    connect, read = timeout
    # A TLS handshake is given the connect timeout, but urllib3 calls its end a read timeout.
    too_soon = connect is not None and (read is None or connect <= took < read)
    if isinstance(exc, requests.exceptions.ConnectTimeout) or too_soon:
        return StreamTimeoutError("timed out while connecting", phase="connect", limit=connect)
    return StreamTimeoutError(
        "timed out while waiting for the response headers", phase="headers", limit=read
    )


def lost(exc: BaseException, phase: ConnectionPhase, what: str) -> GatewayConnectionError:
    """The road's failure, with what really happened as its cause.

    The cause comes without its frames, in which the request's head may stand, with the key.
    """
    failure = GatewayConnectionError(f"{what}: {_words(exc)}", phase=phase)
    root = _root(exc).with_traceback(None)
    root.__context__ = None
    failure.__cause__ = root
    return failure


def _words(exc: BaseException) -> str:
    root = _root(exc)
    if isinstance(root, http.client.IncompleteRead) and root.expected is None:
        return "the connection was closed"  # its own words count the bytes of a single read
    return str(root) or type(root).__name__


def _root(exc: BaseException) -> BaseException:
    """What really happened, inside of what urllib3 and requests made of it."""
    seen = {id(exc)}
    while (inner := _inside(exc)) is not None and id(inner) not in seen:
        seen.add(id(inner))
        exc = inner
    return exc


def _inside(exc: BaseException) -> BaseException | None:
    candidates = (getattr(exc, "reason", None), *exc.args[::-1], exc.__cause__)
    return next((inner for inner in candidates if isinstance(inner, BaseException)), None)
