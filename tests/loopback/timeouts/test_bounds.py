"""Answers without an end, and answers that grow when they are unpacked: each has its bound.

The peer pours for as long as anybody takes it, up to a gigabyte, and counts. What it gets rid of is
what was read and what fits into the sockets' buffers.
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
    """A script: read the request, send a head, and then the same bytes again and again."""

    def __init__(self, head: bytes, again: bytes, total: int = GIGABYTE) -> None:
        self.sent = 0
        self.refused = False  # whether the client stopped taking it
        self._head = head
        self._again = again * (65536 // len(again) + 1)
        self._total = total

    def __call__(self, connection: Connection) -> None:
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
    """What a turn with such a peer ends with, in time and in so many bytes of memory."""
    with Peer(script) as peer, Client(peer.url, "key", max_retries=0) as client:
        tracemalloc.start()
        began = time.monotonic()
        try:
            stream = client.stream("x/y", "hi", max_event_bytes=LIMIT, **options)
            return stream.result(SECONDS)
        except Exception as exc:  # noqa: BLE001 - what it is, is what is tested
            return exc.with_traceback(None)
        finally:
            took, peak = time.monotonic() - began, tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            stream.close()
            assert took < SECONDS
            assert peak < memory, f"{peak / MIB:.1f} MiB at once"


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is imported on first use is imported, so that it is no part of what is measured."""
    with (
        Peer(Pour(CHUNKED + chunk(DONE) + b"0\r\n\r\n", b"x", total=0)) as peer,
        Client(peer.url, "key") as client,
    ):
        client.complete("x/y", "hi")


def in_chunks(data: bytes) -> bytes:
    """As chunks of 32 KiB."""
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
def test_a_gigabyte_without_an_event_is_refused_at_the_bound(head: bytes, again: bytes) -> None:
    """It fails after max_event_bytes, with little more than that in memory, and reads no more."""
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
    """Whatever of an answer's framing never ends, reading it does, soon and in a few MiB."""
    pour = Pour(head, again)
    failure = outcome(pour, 4 * MIB)
    assert type(failure) is GatewayConnectionError
    assert pour.refused
    assert pour.sent < SOCKETS


@pytest.mark.slow
def test_interim_answers_without_an_end_meet_the_deadline() -> None:
    """`100 Continue` again and again is no response: waiting for one ends in time.

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
def test_keep_alives_without_an_end_meet_the_deadline(again: bytes) -> None:
    """What is no event postpones nothing, however much of it there is, and none of it is kept."""
    pour = Pour(UNTIL_CLOSE, again, total=64 * GIGABYTE)
    failure = outcome(pour, 16 * MIB, stream_first_event_timeout_ms=500)
    assert isinstance(failure, StreamTimeoutError)
    assert failure.phase == "first_event"
    assert pour.refused


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
def test_a_million_empty_comment_lines_are_read_over(end: bytes) -> None:
    """An event with a million comments in front of its data is read like one without, in time."""
    body = (b":" + end) * 1_000_000 + DONE.replace(b"\n", end)

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(UNTIL_CLOSE, body)
        connection.sock.close()

    message = outcome(script, 16 * len(body))
    assert isinstance(message, AssistantMessage), message


def test_an_error_body_without_an_end_is_read_for_a_megabyte() -> None:
    """The status is told, with what was read of the body, and no more is read."""
    pour = Pour(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", b"x")
    failure = outcome(pour, 8 * MIB)
    assert isinstance(failure, GatewayServerError)
    assert len(failure.body) == MIB
    assert pour.refused
    assert pour.sent < MIB + SOCKETS


def test_a_redirects_body_without_an_end_is_not_followed_to_it() -> None:
    """A redirect is told as what it is, after a megabyte of its body at most."""
    pour = Pour(b"HTTP/1.1 307 Go\r\nLocation: /\r\n\r\n", b"x")
    failure = outcome(pour, 8 * MIB)
    assert isinstance(failure, AuthGatewayError)
    assert failure.status == 307
    assert pour.refused
    assert pour.sent < MIB + SOCKETS


def test_what_follows_the_end_is_read_for_a_megabyte() -> None:
    """The message is told although its answer goes on for ever, which is given up soon."""
    pour = Pour(UNTIL_CLOSE + DONE, b": x\n\n")
    message = outcome(pour, 8 * MIB)
    assert isinstance(message, AssistantMessage)
    assert pour.refused
    assert pour.sent < 2 * MIB + SOCKETS


def compressed(kind: int) -> bytes:
    """A gigabyte of zeros as a megabyte of zlib (15) or gzip (31), but for its last bytes."""
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
def test_a_compressed_gigabyte_is_unpacked_up_to_the_bound(encoding: str, status: int) -> None:
    """A body that nobody asked to be compressed is unpacked piece by piece, and not to its end."""

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
