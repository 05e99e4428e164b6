"""Recording: what a client sends and a gateway answers is kept in a file, without secrets."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from pi_native import Client, ConfigurationError, PiNativeError, StreamTimeoutError

from ._recording import FIRST_LINE, End, RecordedTurn, lines
from ._scrub import Secrets

if TYPE_CHECKING:
    from pi_native._http.connection import SocketHandle
    from pi_native._http.gateway_response import GatewayResponse
    from pi_native._protocol.request import Request

__all__ = ["record"]

_PATIENCE = 1.5  # seconds; a client drains what follows the end of a turn for one


@contextlib.contextmanager
def record(client: Client, path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep every exchange that this client makes within the block; `FakeGateway.replay` reads it.

        >>> with Client() as client, record(client, "turn.jsonl"):
        ...     message = client.complete("anthropic/claude-sonnet-4-5", "Hello!")

    Kept are each request's method, path and body, each answer's status, headers and body, the body
    as the reads brought it, and when. That goes for turns and pages, all threads, a `session` of
    your own, every attempt of a turn that is retried, and for turns that fail or are cancelled:
    what came of them is kept.

    Never kept are the headers of requests, headers of answers that are secret by their name, the
    key's text in any body, and users and passwords in URLs. Prompts and answers are kept, that is
    what it is for, and so is whatever else the gateway's pages say.

    Leaving the block waits for the turns that were begun in it, for 1.5 seconds at most; of one
    that runs on, what came by then is kept. The file is replaced. Raises OSError if it cannot be
    written (on leaving, if that shows later: no turn fails for it), and RuntimeError if the client
    is being recorded already.
    """
    transport = client._transport
    if transport.tap is not None:
        raise RuntimeError("this client is being recorded already")
    secrets = Secrets()
    secrets.add_key(client._api_key)
    secrets.add_url(client.base_url)
    with open(path, "wb") as file:
        recorder = _Recorder(file, client.base_url, secrets)
        transport.tap = recorder
        try:
            yield
        finally:
            transport.tap = None
            recorder.finish()


class _Recorder:
    """Writes each exchange when it has ended: a secret may be spread over several reads."""

    def __init__(self, file: IO[bytes], base_url: str, secrets: Secrets) -> None:
        self._file = file
        self._base_url = base_url
        self._secrets = secrets
        self._began = time.monotonic()
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._count = 0
        self._open: dict[int, RecordedTurn] = {}
        self._failure: OSError | None = None
        self._write(FIRST_LINE)

    def sending(self, request: "Request", lifeline: "SocketHandle") -> "_Watch | None":
        """Look on at one more exchange; not in a forked child, whose file this is not."""
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
            self._secrets.add_headers(request.headers)
        return _Watch(self, exchange, lifeline)

    def learn_secrets(self, headers: dict[str, str]) -> None:
        """Keep nothing of what these headers, which were sent, say in secret."""
        with self._changed:
            self._secrets.add_headers(headers)

    def ended(self, exchange: RecordedTurn) -> None:
        """Write an exchange, once."""
        with self._changed:
            if self._open.pop(exchange.number, None) is not None:
                self._write(lines(self._secrets.scrub(exchange)))
                self._changed.notify_all()

    def forget(self, exchange: RecordedTurn) -> None:
        """Keep nothing of an exchange that came to nothing."""
        with self._changed:
            self._open.pop(exchange.number, None)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait a moment for what still runs, then write what came of it."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._open, _PATIENCE)
            for exchange in self._open.values():
                exchange.ended_at = time.monotonic() - self._began - exchange.at
                self._write(lines(self._secrets.scrub(exchange)))
            self._open.clear()
        if self._failure is not None:
            raise self._failure

    def _write(self, data: bytes) -> None:
        # In a turn's own thread, to which a full disk is no reason to fail.
        try:
            self._file.write(data)
            self._file.flush()  # a forked child must find nothing to write a second time
        except OSError as exc:
            self._failure = self._failure or exc


class _Watch:
    """Notes what becomes of one exchange."""

    def __init__(
        self, recorder: _Recorder, exchange: RecordedTurn, lifeline: "SocketHandle"
    ) -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._lifeline = lifeline
        self._began = time.monotonic()

    def failed(self, error: Exception) -> None:
        """Note that no answer came."""
        if isinstance(error, ConfigurationError):
            self._recorder.forget(self._exchange)  # nothing was sent
            return
        self._end(self._meaning(error))
        self.closed()

    def answered(self, answer: "GatewayResponse") -> None:
        """Note status and headers."""
        exchange = self._exchange
        self._recorder.learn_secrets(answer.sent_headers())
        exchange.headers = dict(answer.info.headers)
        exchange.reason = answer.reason
        exchange.answered_at = self._now()
        exchange.status = answer.info.status
        if answer.has_no_body:
            self._end("complete")

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Note what each read brings, and how the last one went."""
        try:
            for data in chunks:
                self._exchange.pieces.append((self._now(), data))
                yield data
        except PiNativeError as exc:
            self._end(self._meaning(exc))
            raise
        # A cut of our own may look like the end.
        self._end("left" if self._lifeline.is_cut else "complete")

    def closed(self) -> None:
        """Have it written. An answer that was not read to its end was left."""
        if not self._exchange.ended_at:
            self._end("left")
        self._recorder.ended(self._exchange)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _end(self, end: End) -> None:
        self._exchange.end = end
        self._exchange.ended_at = self._now()

    def _meaning(self, error: Exception) -> End:
        if self._lifeline.is_cut or isinstance(error, StreamTimeoutError):
            return "left"
        # Exactly: `http.client` has a subclass of its own for an answer that is missing.
        return "reset" if type(error.__cause__) is ConnectionResetError else "cut"
