"""Record what a client sends and a gateway answers in a file, without secrets."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from pi_native import Client, ConfigurationError, PiNativeError, StreamTimeoutError

from .file import FIRST_LINE, End, RecordedTurn, lines
from .redact import Redactor

if TYPE_CHECKING:
    from pi_native._http.connection import SocketHandle
    from pi_native._http.gateway_response import GatewayResponse
    from pi_native._protocol.request import Request

__all__ = ["record"]

# Seconds to wait for turns that run at the end of the block. A client reads for 1 s after a turn.
_GRACE = 1.5


@contextlib.contextmanager
def record(client: Client, path: str | os.PathLike[str]) -> Iterator[None]:
    """Record every exchange of this client within the block, for `FakeGateway.replay`.

        >>> with Client() as client, record(client, "turn.jsonl"):
        ...     message = client.complete("anthropic/claude-sonnet-4-5", "Hello!")

    The file holds the method, path and body of each request, the status, harmless headers and body
    of each response, and the time of each read. It holds turns and pages, of all threads and of a
    `session` that is passed to a call, every attempt of a retried turn, and what arrived of turns
    that failed or were cancelled.

    The file never holds the headers of requests, response headers that are not known to be
    harmless, the key, the values of JSON members with a secret name ("x-api-key", "access_token"),
    or users and passwords in URLs. In a body asterisks replace them. A
    secret that a model spells out in several events is not recognised. Prompts and answers are
    stored, and so is everything else in the bodies.

    At its end the block waits up to 1.5 seconds for turns that were started in it. Of a turn that
    runs longer, the file holds what arrived by then. An existing file is replaced.

    Raises OSError if the file cannot be written, at the end of the block if that is when it shows;
    no turn fails for it. Raises RuntimeError if the client is already being recorded.
    """
    transport = client._transport
    if transport.observe is not None:
        raise RuntimeError("this client is already being recorded; end that block first")
    redactor = Redactor()
    redactor.learn_key(client._api_key)
    redactor.learn_url(client.base_url)
    with open(path, "wb") as file:
        recorder = _Recorder(file, client.base_url, redactor)
        transport.observe = recorder.sending
        try:
            yield
        finally:
            transport.observe = None
            recorder.finish()


class _Recorder:
    """Writes each exchange at its end, because several reads may bring one secret."""

    def __init__(self, file: IO[bytes], base_url: str, redactor: Redactor) -> None:
        self._file = file
        self._base_url = base_url
        self._redactor = redactor
        self._began = time.monotonic()
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._count = 0
        self._open: dict[int, RecordedTurn] = {}
        self._failure: OSError | None = None
        self._write(FIRST_LINE)

    def sending(self, request: "Request", handle: "SocketHandle") -> "_ExchangeObserver | None":
        """Observe one more exchange. Return None in a forked child, which does not own the file."""
        if os.getpid() != self._process:
            return None
        with self._changed:
            self._count += 1
            exchange = RecordedTurn(
                number=self._count,
                at=time.monotonic() - self._began,
                method=request.method,
                path=request.url.removeprefix(self._base_url),
                body=request.body or b"",
            )
            self._open[exchange.number] = exchange
            self._redactor.learn_headers(request.headers)
        return _ExchangeObserver(self, exchange, handle)

    def learn_headers(self, headers: dict[str, str]) -> None:
        """Redact the values of secret headers that were sent."""
        with self._changed:
            self._redactor.learn_headers(headers)

    def ended(self, exchange: RecordedTurn) -> None:
        """Write an exchange, unless it is written already."""
        with self._changed:
            if self._open.pop(exchange.number, None) is not None:
                self._write(lines(self._redactor.redact(exchange)))
                self._changed.notify_all()

    def forget(self, exchange: RecordedTurn) -> None:
        """Drop an exchange whose request was not sent."""
        with self._changed:
            self._open.pop(exchange.number, None)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait for running exchanges, then write what arrived of the others."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._open, _GRACE)
            for exchange in self._open.values():
                exchange.ended_at = time.monotonic() - self._began - exchange.at
                self._write(lines(self._redactor.redact(exchange)))
            self._open.clear()
        if self._failure is not None:
            raise self._failure

    def _write(self, data: bytes) -> None:
        # This is the worker thread of a turn, which must not fail because of a full disk.
        try:
            self._file.write(data)
            self._file.flush()  # a forked child must not write it a second time
        except OSError as exc:
            self._failure = self._failure or exc


class _ExchangeObserver:
    """Records one exchange."""

    def __init__(self, recorder: _Recorder, exchange: RecordedTurn, handle: "SocketHandle") -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._handle = handle
        self._began = time.monotonic()

    def failed(self, error: Exception) -> None:
        """Record that there is no response."""
        if isinstance(error, ConfigurationError):
            self._recorder.forget(self._exchange)  # nothing was sent
            return
        self._end(self._meaning(error))
        self.closed()

    def answered(self, response: "GatewayResponse") -> None:
        """Record status and headers."""
        exchange = self._exchange
        self._recorder.learn_headers(response.sent_headers())
        exchange.headers = dict(response.info.headers)
        exchange.reason = response.reason
        exchange.answered_at = self._now()
        exchange.status = response.info.status
        if response.has_no_body:
            self._end("complete")

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the body on, and record each read and how the last one ended."""
        try:
            for data in chunks:
                self._exchange.pieces.append((self._now(), data))
                yield data
        except PiNativeError as exc:
            self._end(self._meaning(exc))
            raise
        # A cut by this side looks like the end of the body.
        self._end("left" if self._handle.is_cut else "complete")

    def closed(self) -> None:
        """Write the exchange. A response that was not read to its end was left."""
        if not self._exchange.ended_at:
            self._end("left")
        self._recorder.ended(self._exchange)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _end(self, end: End) -> None:
        self._exchange.end = end
        self._exchange.ended_at = self._now()

    def _meaning(self, error: Exception) -> End:
        if self._handle.is_cut or isinstance(error, StreamTimeoutError):
            return "left"
        # The exact type: `http.client` has a subclass of it for a missing response.
        return "reset" if type(error.__cause__) is ConnectionResetError else "cut"
