"""Responses without an end, and responses that grow when decompressed, have limits.

The peer sends until the client stops reading, up to a gigabyte, and counts the bytes. The count is
the number of bytes that were read, plus those in the buffers of the sockets.
"""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AuthGatewayError,
    Client,
    GatewayConnectionError,
    GatewayServerError,
    StreamProtocolError,
    StreamTimeoutError,
)

from ..peer import CHUNKED, OK, UNTIL_CLOSE, Connection, Peer, chunk

MIB = 1024 * 1024
GIGABYTE = 1024 * MIB
LIMIT = 8 * MIB  # max_event_bytes
SOCKETS = 24 * MIB  # more than loopback's two buffers ever hold
SECONDS = 20.0  # on a busy machine; each takes less than one
DONE = b'data: {"type":"done","reason":"stop","message":{"role":"assistant","content":[]}}\n\n'


class Pour:
    """A script: read the request, send a head, and then repeat the same bytes."""

    def __init__(self, head: bytes, again: bytes, total: int = GIGABYTE) -> None:
        self.sent = 0
        self.refused = False  # whether the client stopped taking it
        self._head = head
        self._again = again * (65536 // len(again) + 1)
        self._total = total

    def __call__(self, connection: Connection) -> None:
        """Read the request, and send until the client stops reading."""
        connection.read_request()
        try:
            connection.send(self._head)
            while self.sent < self._total:
                connection.send(self._again)
                self.sent += len(self._again)
        except OSError:
            self.refused = True


def outcome(
    script: Callable[[Connection], object], memory: int, **options: Any
) -> AssistantMessage | BaseException:
    """Return the outcome of a turn with such a peer; check its duration and its memory."""
    with Peer(script) as peer, Client(peer.url, "key", max_retries=0) as client:
        tracemalloc.start()
        began = time.monotonic()
        try:
            stream = client.stream("x/y", "hi", max_event_bytes=LIMIT, **options)
            return stream.result(SECONDS)
        except Exception as exc:  # noqa: BLE001 - the test checks the type
            return exc.with_traceback(None)
        finally:
            took, peak = time.monotonic() - began, tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            stream.close()
            assert took < SECONDS
            assert peak < memory, f"{peak / MIB:.1f} MiB at once"


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Import the modules that load on first use, so that the measurement excludes them."""
    with (
        Peer(Pour(CHUNKED + chunk(DONE) + b"0\r\n\r\n", b"x", total=0)) as peer,
        Client(peer.url, "key") as client,
    ):
        client.complete("x/y", "hi")


def in_chunks(data: bytes) -> bytes:
    """Return the data as chunks of 32 KiB."""
    return chunk((data * 32768)[:32768])


ENDLESS_EVENTS = {
    "chunked": (CHUNKED, in_chunks(b"x")),
    "until close": (UNTIL_CLOSE, b"x"),
    "with a length": (OK + b"Content-Length: %d\r\n\r\n" % GIGABYTE, b"x"),
    "in small chunks": (CHUNKED, chunk(b"x" * 100)),
    "one huge chunk": (CHUNKED + b"40000000\r\n", b"x"),
    "after a CR": (UNTIL_CLOSE + b": hi\r\n", b"x"),
    "empty comments": (UNTIL_CLOSE, b":\n"),
    "empty comments, CR LF": (UNTIL_CLOSE, b":\r\n"),
    "data lines": (UNTIL_CLOSE, b"data: x\n"),
    "a snapshot": (
        UNTIL_CLOSE + b'data: {"type":"text_delta","contentIndex":0,"delta":"","partial":{"a":"',
        b"x",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("head", "again"), ENDLESS_EVENTS.values(), ids=ENDLESS_EVENTS.keys())
def test_a_gigabyte_without_an_event_is_refused_at_the_limit(head: bytes, again: bytes) -> None:
    """The turn fails after max_event_bytes, and holds and reads little more than that."""
    pour = Pour(head, again)
    failure = outcome(pour, 2 * LIMIT + 4 * MIB)
    assert type(failure) is StreamProtocolError
    assert "max_event_bytes" in str(failure)
    assert pour.refused
    assert pour.sent < LIMIT + SOCKETS


ENDLESS_HEADS = {
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "folded headers": (b"HTTP/1.1 200 OK\r\nX: x\r\n", b" x\r\n"),
    "a chunk's size": (CHUNKED, b"0"),
    "a chunk's extension": (CHUNKED + b"5;", b"x"),
    "a trailer": (CHUNKED + b"0\r\nX: ", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X: x\r\n"),
}


@pytest.mark.parametrize(("head", "again"), ENDLESS_HEADS.values(), ids=ENDLESS_HEADS.keys())
def test_framing_without_an_end_is_a_broken_connection(head: bytes, again: bytes) -> None:
    """Framing that never ends fails the turn soon and within a few MiB."""
    pour = Pour(head, again)
    failure = outcome(pour, 4 * MIB)
    assert type(failure) is GatewayConnectionError
    assert pour.refused
    assert pour.sent < SOCKETS


@pytest.mark.slow
def test_interim_responses_without_an_end_time_out() -> None:
    """Repeated `100 Continue` is no response: the wait for one times out.

    Newer versions of `http.client` refuse more than 100 of them.
    """
    pour = Pour(b"", b"HTTP/1.1 100 Continue\r\n\r\n", total=64 * GIGABYTE)
    failure = outcome(pour, 4 * MIB, stream_first_event_timeout_ms=500)
    assert isinstance(failure, (StreamTimeoutError, GatewayConnectionError))
    assert failure.phase == "headers"
    assert pour.refused


@pytest.mark.slow
@pytest.mark.parametrize(
    "again", [b":\n\n", b"\n", b"data\n\n"], ids=["comments", "blank lines", "empty events"]
)
def test_keep_alives_without_an_end_time_out(again: bytes) -> None:
    """Keep-alives do not postpone a timeout, whatever their number, and are not kept."""
    pour = Pour(UNTIL_CLOSE, again, total=64 * GIGABYTE)
    failure = outcome(pour, 16 * MIB, stream_first_event_timeout_ms=500)
    assert isinstance(failure, StreamTimeoutError)
    assert failure.phase == "first_event"
    assert pour.refused


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
def test_a_million_empty_comment_lines_are_skipped(end: bytes) -> None:
    """An event after a million comments is parsed in time, as if they were absent."""
    body = (b":" + end) * 1_000_000 + DONE.replace(b"\n", end)

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(UNTIL_CLOSE, body)
        connection.sock.close()

    message = outcome(script, 16 * len(body))
    assert isinstance(message, AssistantMessage), message


def test_an_error_body_without_an_end_is_read_for_a_megabyte() -> None:
    """The error has the status and the first megabyte of the body; no more is read."""
    pour = Pour(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", b"x")
    failure = outcome(pour, 8 * MIB)
    assert isinstance(failure, GatewayServerError)
    assert len(failure.body) == MIB
    assert pour.refused
    assert pour.sent < MIB + SOCKETS


def test_a_redirects_body_without_an_end_is_not_read_to_its_end() -> None:
    """A redirect is an error of its own, after at most a megabyte of its body."""
    pour = Pour(b"HTTP/1.1 307 Go\r\nLocation: /\r\n\r\n", b"x")
    failure = outcome(pour, 8 * MIB)
    assert isinstance(failure, AuthGatewayError)
    assert failure.status == 307
    assert pour.refused
    assert pour.sent < MIB + SOCKETS


def test_what_follows_the_end_is_read_for_a_megabyte() -> None:
    """The message is returned although its response never ends; the rest is abandoned soon."""
    pour = Pour(UNTIL_CLOSE + DONE, b": x\n\n")
    message = outcome(pour, 8 * MIB)
    assert isinstance(message, AssistantMessage)
    assert pour.refused
    assert pour.sent < 2 * MIB + SOCKETS


def compressed(kind: int) -> bytes:
    """Return a gigabyte of zeros as a megabyte of zlib (15) or gzip (31), less the last bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, kind)
    beginning = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the same zeros give the same bytes.
    more = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return beginning + more * (GIGABYTE // MIB - 1)


BOMBS = {
    "gzip": compressed(31),
    "deflate": compressed(15),
    "gzip, gzip": gzip.compress(compressed(31)),
}


@pytest.mark.parametrize("encoding", BOMBS)
@pytest.mark.parametrize("status", [200, 500])
def test_a_compressed_gigabyte_is_decompressed_up_to_the_limit(encoding: str, status: int) -> None:
    """A compressed body, which the client did not request, is decompressed up to the limit."""

    def script(connection: Connection) -> None:
        connection.read_request()
        head = b"HTTP/1.1 %d X\r\nContent-Encoding: %b\r\n" % (status, encoding.encode())
        body = BOMBS[encoding]
        connection.send(head, b"Content-Type: text/event-stream\r\n")
        connection.send(b"Content-Length: %d\r\n\r\n" % len(body), body)

    failure = outcome(script, 2 * LIMIT + 8 * MIB)
    if status == 200:
        assert type(failure) is StreamProtocolError
        assert "max_event_bytes" in str(failure)
    else:
        assert isinstance(failure, GatewayServerError)
        assert len(failure.body) == MIB
