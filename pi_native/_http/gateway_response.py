"""A gateway's answer, once its headers are in: the body is read piece by piece."""

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
from .connection import direct_read
from .errors import lost

if TYPE_CHECKING:
    from .observer import Watch

_READ_BYTES = 512 * 1024  # the fewer the reads of a busy stream, the fewer hand-overs to its reader


def _nothing() -> None:
    pass


class GatewayResponse:
    """A gateway's answer: its headers are in, its body is read piece by piece."""

    watch: Watch | None = None
    before_read: Callable[[], object] = staticmethod(_nothing)  # just before a read that may block
    after_read: Callable[[], object] = staticmethod(_nothing)  # just after one that brought little

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
        chunks = (piece.body() for piece in self._pieces())
        return chunks if self.watch is None else self.watch.read(chunks)

    def pieces(self) -> Iterator[Piece]:
        """The same, where it stands in what arrives."""
        return self._pieces() if self.watch is None else map(whole, self.chunks())

    def _pieces(self) -> Iterator[Piece]:
        read = _reader(self._response.raw, self.before_read, self.after_read)
        while (piece := _read_some(read)) is not None:
            yield piece

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
    # read1 hands over each event as it comes, chunked or not; without an amount it can end
    # silently before the body does. A stand-in's body may be any file.
    if not hasattr(raw, "read1"):
        return functools.partial(raw.read, _READ_BYTES)
    if isinstance(raw, urllib3.response.BaseHTTPResponse):
        # Decoding nothing costs two copies.
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
        # Only a session's own sockets have timeouts, as a last resort.
        failure = StreamTimeoutError("timed out while reading the answer", phase="idle")
    except Exception as exc:  # noqa: BLE001 - after a cut even AttributeError was seen
        failure = lost(exc, "body", "the answer was cut short")
    try:
        raise failure
    finally:
        del failure
