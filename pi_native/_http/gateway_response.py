"""A response of the gateway whose head is in; its body is read chunk by chunk."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from .._protocol.chunked import Piece, whole
from .._types.options import ResponseInfo
from ..errors import PiNativeError, StreamProtocolError, StreamTimeoutError
from .adapter import direct_read
from .errors import connection_error

if TYPE_CHECKING:
    from .observer import TransportObserver

_READ_BYTES = 512 * 1024  # fewer reads of a busy stream mean fewer wake-ups of its reader


def _nothing() -> None:
    pass


class GatewayResponse:
    """A response: status and headers, and the body as an iterator."""

    observer: TransportObserver | None = None
    before_read: Callable[[], object] = staticmethod(_nothing)  # just before a read that may block
    after_read: Callable[[], object] = staticmethod(_nothing)  # just after a short one

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
        """True when the headers say that no body follows."""
        length = self.info.headers.get("content-length", "").strip()
        return self.info.status in (204, 205) or length == "0"

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises `GatewayConnectionError` if it is cut short."""
        chunks = (piece.body() for piece in self._pieces())
        return chunks if self.observer is None else self.observer.read(chunks)

    def pieces(self) -> Iterator[Piece]:
        """Yield the body as it arrives, still between its framing."""
        return self._pieces() if self.observer is None else map(whole, self.chunks())

    def _pieces(self) -> Iterator[Piece]:
        read = _reader(self._response.raw, self.before_read, self.after_read)
        while (piece := _read_some(read)) is not None:
            yield piece

    def retry_after(self) -> float | None:
        """Return the seconds to wait, from either form of `Retry-After`; None without one."""
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
        """Return the headers of the request, with those that a session added."""
        return dict(getattr(self._response.request, "headers", None) or {})

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


def _reader(
    raw: Any, before_read: Callable[[], object], after_read: Callable[[], object]
) -> Callable[[], Piece | None]:
    direct = direct_read(raw, before_read, after_read)
    through = _reader_through(raw)

    def read() -> Piece | None:
        before_read()
        data = through()
        return whole(data) if data else None

    return read if direct is None else lambda: direct(_READ_BYTES) or read()


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


def _read_some(read: Callable[[], Piece | None]) -> Piece | None:
    failure: PiNativeError
    try:
        return read()
    except urllib3.exceptions.DecodeError as exc:
        failure = StreamProtocolError(f"the body cannot be decompressed: {exc}")
    except urllib3.exceptions.ReadTimeoutError:
        # Only the sockets of a given session have timeouts that end a read.
        failure = StreamTimeoutError("timed out while reading the response", phase="idle")
    except Exception as exc:  # noqa: BLE001 - after a cut even AttributeError was seen
        failure = connection_error(exc, "body", "the response was cut short")
    try:
        raise failure
    finally:
        del failure
