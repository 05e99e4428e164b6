"""A gateway's answer, once its headers are in: the body is read piece by piece."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from ._failures import lost
from ._options import ResponseInfo
from ._sockets import direct_read
from .errors import PiNativeError, StreamProtocolError, StreamTimeoutError

if TYPE_CHECKING:
    from ._tap import Watch

_READ_BYTES = 512 * 1024  # the fewer the reads of a busy stream, the fewer hand-overs to its reader


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


def _reader(raw: Any) -> Callable[[], bytes]:
    # read1 hands over each event as it comes, chunked or not; without an amount it can end
    # silently before the body does. A stand-in's body may be any file.
    if hasattr(raw, "read1"):
        if isinstance(raw, urllib3.response.BaseHTTPResponse):
            # Decoding nothing costs two copies.
            decode = "content-encoding" in raw.headers
            direct = None if decode else direct_read(raw)
            if direct is not None:
                return lambda: direct(_READ_BYTES) or raw.read1(_READ_BYTES)
            return lambda: raw.read1(_READ_BYTES, decode_content=decode)
        return lambda: raw.read1(_READ_BYTES)
    return lambda: raw.read(_READ_BYTES)


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
        failure = lost(exc, "body", "the answer was cut short")
    try:
        raise failure
    finally:
        del failure
