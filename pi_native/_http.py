"""One HTTP exchange, through requests: what is sent goes to the gateway and nowhere else.

What requests does by default, and is kept from doing here: `~/.netrc` replaces an Authorization
header unless `auth=` is a callable; a proxy from the environment is used even for loopback; cookies
are kept and sent back; a redirect is followed with the body, and even when it is not, its own body
is read to the end, however long it is.

Everything that goes wrong on the road comes out as a `GatewayConnectionError` that says what the
operating system said, without the chain of wrappers: they hold the request, and so the key.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import ipaddress
import logging
import os
import time
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.auth import AuthBase

from ._options import ResponseInfo
from ._request import Request
from ._sockets import Lifeline, SeamAdapter
from .errors import (
    ConfigurationError,
    ConnectionPhase,
    GatewayConnectionError,
    PiNativeError,
    StreamProtocolError,
    StreamTimeoutError,
)

if TYPE_CHECKING:
    from ._tap import Tap, Watch

_log = logging.getLogger("pi_native")
_READ_BYTES = 512 * 1024  # the fewer the reads of a busy stream, the fewer hand-overs to its reader
_IDLE_CONNECTIONS = 16
_BAD_SETUP = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)


class Answer:
    """A gateway's answer: its headers are in, its body is read piece by piece."""

    watch: Watch | None = None

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.reason: str = response.reason or ""
        headers = response.headers
        self.info = ResponseInfo(
            status=response.status_code,
            headers=headers,
            request_id=headers.get("x-request-id") or headers.get("request-id"),
        )

    @property
    def has_no_body(self) -> bool:
        """Whether the headers say that nothing follows them."""
        length = self.info.headers.get("content-length", "").strip()
        return self.info.status in (204, 205) or length == "0"

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises `GatewayConnectionError` if it is cut short."""
        return self._chunks() if self.watch is None else self.watch.read(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        raw = self._response.raw
        read = _reader(raw)
        while data := _read_some(read):
            yield data

    def retry_after(self) -> float | None:
        """The seconds that the answer asks to wait, from either form of `Retry-After`."""
        value = self.info.headers.get("retry-after", "").strip()
        if value.isdecimal():
            return float(value)
        try:
            when = email.utils.parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.timezone.utc)
        return max(0.0, (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds())

    def sent_headers(self) -> dict[str, str]:
        """The headers that went out, with what a session added."""
        return dict(getattr(self._response.request, "headers", None) or {})

    @property
    def has_connection(self) -> bool:
        """Whether its connection is still its own; the last read gives a kept one back."""
        return getattr(self._response.raw, "connection", None) is not None

    def descriptor(self) -> int | None:
        """The socket the body comes from, where there is one."""
        try:
            return int(self._response.raw.fileno())
        except Exception:  # noqa: BLE001 - a mock's body is anything at all
            return None

    def close(self) -> None:
        """Let go: a connection whose body was read to the end is kept, any other is closed."""
        with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
            self._response.close()
        if self.watch is not None:
            self.watch.closed()


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
    def has_seam(self) -> bool:
        """Whether a lifeline reaches the sockets from their birth on."""
        return self._given is None

    def send(
        self,
        request: Request,
        lifeline: Lifeline,
        *,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
    ) -> Answer:
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
        self, request: Request, lifeline: Lifeline, timeout: tuple[float | None, float | None]
    ) -> Answer:
        """Send it; again, if a kept connection had been closed before."""
        while True:
            try:
                return self._send(request, lifeline, timeout)
            except GatewayConnectionError as exc:
                if not _was_stale(exc, lifeline):
                    raise
                _log.debug("a kept connection was closed by the gateway; connecting anew")

    def _send(
        self, request: Request, lifeline: Lifeline, timeout: tuple[float | None, float | None]
    ) -> Answer:
        session = self._given or self._session()
        where = _origin(request.url)
        began = time.monotonic()
        failure: PiNativeError
        try:
            with lifeline.running():
                return Answer(_send(session, request, timeout))
        except _BAD_SETUP as exc:
            failure = _unusable(exc, request.url, where)
        except requests.exceptions.Timeout as exc:
            failure = _timed_out(exc, timeout, time.monotonic() - began)
        except Exception as exc:  # noqa: BLE001 - the error is ours, whatever an adapter raises
            phase: ConnectionPhase = "headers" if lifeline.connected else "connect"
            what = "no answer from" if lifeline.connected else "cannot reach"
            failure = _lost(exc, phase, f"{what} {where}")
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
            self.mount(scheme, SeamAdapter(pool_maxsize=_IDLE_CONNECTIONS))


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


def _send(
    session: requests.Session, request: Request, timeout: tuple[float | None, float | None]
) -> requests.Response:
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


def _reader(raw: Any) -> Callable[[], bytes]:
    # read1 hands over each event as it comes, chunked or not; without an amount it can end
    # silently before the body does. A stand-in's body may be any file.
    if hasattr(raw, "read1"):
        if isinstance(raw, urllib3.response.BaseHTTPResponse):
            # Decoding nothing costs two copies.
            decode = "content-encoding" in raw.headers
            return lambda: raw.read1(_READ_BYTES, decode_content=decode)
        return lambda: raw.read1(_READ_BYTES)
    return lambda: raw.read(_READ_BYTES)


def _was_stale(exc: GatewayConnectionError, lifeline: Lifeline) -> bool:
    """Whether a connection from the turn before had been closed when this request met it."""
    return lifeline.reused and not lifeline.is_cut and isinstance(exc.__cause__, ConnectionError)


def _unusable(exc: Exception, url: str, where: str) -> PiNativeError:
    if isinstance(_root(exc), urllib3.exceptions.InvalidHeader):
        # Not ours, which requests looks at itself, but the answer's: it has two lengths.
        return _lost(exc, "headers", f"no answer from {where}")
    words = _words(exc).replace(url, where)  # which may hold a password
    return ConfigurationError(f"cannot send to {where!r}: {words}")


def _timed_out(
    exc: requests.exceptions.Timeout, timeout: tuple[float | None, float | None], took: float
) -> StreamTimeoutError:
    connect, read = timeout
    # A TLS handshake is given the connect timeout, but urllib3 calls its end a read timeout.
    too_soon = connect is not None and (read is None or connect <= took < read)
    if isinstance(exc, requests.exceptions.ConnectTimeout) or too_soon:
        return StreamTimeoutError("timed out while connecting", phase="connect", limit=connect)
    return StreamTimeoutError(
        "timed out while waiting for the response headers", phase="headers", limit=read
    )


def _read_some(read: Callable[[], bytes]) -> bytes:
    failure: PiNativeError
    try:
        return read()
    except urllib3.exceptions.DecodeError as exc:
        failure = StreamProtocolError(f"the body cannot be decompressed: {exc}")
    except urllib3.exceptions.ReadTimeoutError:
        # Only a session's own sockets have timeouts, as a last resort.
        failure = StreamTimeoutError("timed out while reading the answer", phase="idle")
    except Exception as exc:  # noqa: BLE001 - after a cut even AttributeError was seen
        failure = _lost(exc, "body", "the answer was cut short")
    try:
        raise failure
    finally:
        del failure


def _lost(exc: BaseException, phase: ConnectionPhase, what: str) -> GatewayConnectionError:
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


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"  # which is not shown: a password may stand in it
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
