"""A response of the gateway whose head is in; its body is read chunk by chunk."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from .._protocol.chunked import Body
from .._types.options import ResponseInfo
from ..errors import PiNativeError, StreamProtocolError, StreamTimeoutError
from .adapter import direct_response
from .errors import connection_error

if TYPE_CHECKING:
    from .observer import TransportObserver

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]*)?")
_READ_BYTES = 512 * 1024  # fewer reads of a busy stream mean fewer wake-ups of its reader


class GatewayResponse:
    """A response: status and headers, and the body as an iterator."""

    observer: TransportObserver | None = None

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._direct = direct_response(response.raw)
        self.body = Body() if self._direct is None else self._direct.body
        self._through = _reader_through(response.raw)
        self.reason: str = response.reason or ""
        headers = response.headers
        self.info = ResponseInfo(
            status=response.status_code,
            headers=headers,
            request_id=headers.get("x-request-id") or headers.get("request-id"),
        )

    @property
    def has_no_body(self) -> bool:
        """True when the headers say that no body follows."""
        length = self.info.headers.get("content-length", "").strip()
        return self.info.status in (204, 205) or length == "0"

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises `GatewayConnectionError` if it is cut short."""
        chunks = self._chunks()
        return chunks if self.observer is None else self.observer.read(chunks)

    def reader(self) -> Callable[[], bool]:
        """Return a function that reads the next part into `body`; it returns False at the end.

        It raises what the libraries below raise; `failure` says what that means.
        """
        if self.observer is not None:
            self.body = Body()
            return functools.partial(self._read_from, self.chunks())
        if self._direct is not None:
            return functools.partial(self._direct.read_body, _READ_BYTES)
        return self._read_through

    def failure(self, exc: Exception) -> PiNativeError:
        """Return the error that an exception of a read means."""
        if isinstance(exc, PiNativeError):
            return exc
        if isinstance(exc, urllib3.exceptions.DecodeError):
            return StreamProtocolError(f"the body cannot be decompressed: {exc}")
        if isinstance(exc, urllib3.exceptions.ReadTimeoutError):
            # Only the sockets of a given session have timeouts that end a read.
            return StreamTimeoutError("timed out while reading the response", phase="idle")
        return connection_error(exc, "body", "the response was cut short")

    def give_back(self) -> None:
        """Give back the connection of a body that was read to its end.

        Reading it without urllib3 does not do that.
        """
        if self._direct is not None:
            self._through()

    def _read_through(self) -> bool:
        data = self._through()
        self.body.feed(data)
        return bool(data)

    def _read_from(self, chunks: Iterator[bytes]) -> bool:
        data = next(chunks, b"")
        self.body.feed(data)
        return bool(data)

    def _next_chunk(self) -> bytes:
        """Return the next part of the body, b"" at its end."""
        direct = self._direct
        if direct is not None and direct.read_body(_READ_BYTES):
            return direct.body.content()
        return self._through()

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                data = self._next_chunk()
            except Exception as exc:  # noqa: BLE001 - after a cut even AttributeError was seen
                failure = self.failure(exc)
                break
            if not data:
                return
            yield data
        # Raised outside of the handler: the exception would be its context.
        try:
            raise failure
        finally:
            del failure

    def retry_after(self) -> float | None:
        """Return the seconds to wait, from either form of `Retry-After`; None without one.

        Of several values the largest counts, so that no retry comes too early.
        """
        value = self.info.headers.get("retry-after", "")
        found = [_seconds(value), *map(_seconds, value.split(","))]
        return max((seconds for seconds in found if seconds is not None), default=None)

    def sent_headers(self) -> dict[str, str]:
        """Return the headers of the request, with those that a session added."""
        return dict(getattr(self._response.request, "headers", None) or {})

    @property
    def authorization(self) -> str | None:
        """The Authorization header of the request; None without one."""
        sent = self.sent_headers().items()
        return next((value for name, value in sent if name.lower() == "authorization"), None)

    @property
    def has_connection(self) -> bool:
        """True until the last read gives the connection back."""
        return getattr(self._response.raw, "connection", None) is not None

    def descriptor(self) -> int | None:
        """Return the descriptor of the socket that the body comes from; None without one."""
        try:
            return int(self._response.raw.fileno())
        except Exception:  # noqa: BLE001 - the body of a mock may be anything
            return None

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else close it."""
        with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
            self._response.close()
        if self.observer is not None:
            self.observer.closed()


def _reader_through(raw: Any) -> Callable[[], bytes]:
    # read1 returns each event as it comes, chunked or not; without an amount it can end before the
    # body does. The body of a mock may be any file.
    if not hasattr(raw, "read1"):
        return functools.partial(raw.read, _READ_BYTES)
    if isinstance(raw, urllib3.response.BaseHTTPResponse):
        # Decoding a body that is not encoded costs two copies.
        decode = "content-encoding" in raw.headers
        return functools.partial(raw.read1, _READ_BYTES, decode_content=decode)
    return functools.partial(raw.read1, _READ_BYTES)


def _seconds(value: str) -> float | None:
    """Return the seconds of one `Retry-After`: a number, or a date in UTC."""
    if _NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value.strip())
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
