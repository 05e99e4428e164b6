"""Opening, reading, writing and cutting a connection."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pi_native._http import connection
from pi_native._http.connection import (
    Address,
    SocketHandle,
    open_connection,
    receive_into,
    send_all,
)

LEFT = 20.0


def row(sock: socket.socket) -> Address:
    """Return the address of a listener, as `getaddrinfo` has it."""
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", sock.getsockname())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def silent() -> Iterator[Address]:
    """Make an address that answers no connect."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
        yield row(full)


@pytest.fixture
def refused() -> Address:
    """Make an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return row(closed)


def connect(*addresses: Address, handle: SocketHandle | None = None) -> socket.socket:
    """Connect to one of the addresses."""
    return open_connection(addresses, lambda _: None, handle or SocketHandle())


# Connecting


def test_the_next_address_is_tried_while_the_first_is_silent(
    listener: socket.socket, silent: Address
) -> None:
    """A dead first address costs about 0.3 s (RFC 8305), and its socket is closed."""
    began = time.monotonic()
    with connect(silent, row(listener)) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() is None
    assert 0.25 < time.monotonic() - began < 2.5


def test_a_refusal_is_followed_by_the_next_address_at_once(
    listener: socket.socket, refused: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that refuses does not cost the wait of a silent one."""
    monkeypatch.setattr(connection, "_NEXT_ADDRESS_SECONDS", LEFT)
    began = time.monotonic()
    connect(refused, refused, row(listener)).close()
    assert time.monotonic() - began < LEFT / 2


def test_a_silent_address_may_answer_after_the_others_failed(
    listener: socket.socket, refused: Address
) -> None:
    """All addresses that were begun are waited for, and the last error is raised if all fail."""
    connect(row(listener), refused).close()
    with pytest.raises(ConnectionRefusedError):
        connect(refused, refused)


def test_no_address_is_an_error() -> None:
    """A host name without an address has an error that says so."""
    with pytest.raises(OSError, match="no address"):
        connect()


def test_families_alternate() -> None:
    """The addresses of IPv6 and IPv4 are mixed, and the first one stays first."""
    six = [(socket.AF_INET6, 1, 0, "", (f"::{n}", 1)) for n in range(3)]
    four = [(socket.AF_INET, 1, 0, "", (f"10.0.0.{n}", 1)) for n in range(2)]
    mixed = connection._alternate_families([*six, *four])  # type: ignore[list-item]
    assert mixed == [six[0], four[0], six[1], four[1], six[2]]
    assert connection._alternate_families([]) == []


def test_connecting_calls_the_method_that_guards_replace(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard in place of `socket.socket.connect`, as pytest-socket's, refuses the connection."""

    def guard(_: socket.socket, address: Any) -> None:
        raise RuntimeError(f"not allowed: {address}")

    monkeypatch.setattr(socket.socket, "connect", guard)
    with pytest.raises(RuntimeError, match="not allowed"):
        connect(row(listener))


@pytest.mark.parametrize("shutdown_works", [True, False])
def test_a_pending_connect_is_cut(
    silent: Address, shutdown_works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut ends a pending connect, also where a shutdown does not wake it, as on Windows."""
    if not shutdown_works:
        monkeypatch.setattr(connection, "_shut_down", lambda _: None)
    handle = SocketHandle()
    threading.Timer(0.05, handle.cut).start()
    began = time.monotonic()
    with pytest.raises(ConnectionAbortedError):
        connect(silent, silent, silent, handle=handle)
    assert time.monotonic() - began < LEFT / 4
    assert "TCP connection to 127.0.0.1:" in handle.stage


def test_a_cut_before_connecting_is_not_lost(listener: socket.socket) -> None:
    """A handle that was cut before connects to nothing."""
    handle = SocketHandle()
    handle.cut()
    with pytest.raises(ConnectionAbortedError):
        connect(row(listener), handle=handle)


# Reading and writing


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two sockets; the first one has the timeout of a recheck."""
    near, far = socket.socketpair()
    near.settimeout(0.05)
    with near, far:
        yield near, far


def test_a_timeout_of_the_socket_does_not_end_a_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A read continues after a recheck, and returns what comes then."""
    near, far = pair
    threading.Timer(0.2, far.sendall, (b"late",)).start()
    buffer = bytearray(10)
    assert receive_into(near, buffer, SocketHandle()) == 4
    assert bytes(buffer[:4]) == b"late"


def test_a_cut_ends_a_read_that_no_shutdown_wakes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a shutdown wakes no reader, as on Windows, the next recheck ends the read."""
    monkeypatch.setattr(connection, "_shut_down", lambda _: None)
    handle = SocketHandle()
    handle.adopt(pair[0].fileno())
    threading.Timer(0.1, handle.cut).start()
    with pytest.raises(ConnectionAbortedError):
        receive_into(pair[0], bytearray(10), handle)


def test_a_cut_ends_a_write_that_no_shutdown_wakes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a write to a peer that does not read."""
    monkeypatch.setattr(connection, "_shut_down", lambda _: None)
    handle = SocketHandle()
    threading.Timer(0.1, handle.cut).start()
    with pytest.raises(ConnectionAbortedError):
        send_all(pair[0], b"x" * 50_000_000, handle)


def test_a_slow_reader_gets_every_byte(pair: tuple[socket.socket, socket.socket]) -> None:
    """A write that meets timeouts continues where it was."""
    near, far = pair
    data = bytes(range(256)) * 20_000
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(far.recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    send_all(near, data, SocketHandle())
    reader.join(LEFT)
    assert bytes(received) == data


class Broken:
    """A socket whose reads raise this error."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def recv_into(self, _: object) -> int:
        """Raise it."""
        raise self.error


def test_a_dead_peer_is_no_timeout() -> None:
    """The end of the keep-alive packets is a broken connection, not one more recheck."""
    error = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    with pytest.raises(ConnectionResetError, match="no longer answers"):
        receive_into(Broken(error), bytearray(1), SocketHandle())


def test_without_a_handle_a_timeout_is_raised() -> None:
    """A response that belongs to no attempt obeys the timeout of its socket."""
    with pytest.raises(TimeoutError):
        receive_into(Broken(TimeoutError("timed out")), bytearray(1), None)


# The handle


def test_a_cut_wakes_a_reader(pair: tuple[socket.socket, socket.socket]) -> None:
    """A shutdown of the duplicate ends a blocked read."""
    near, _ = pair
    near.settimeout(LEFT)
    handle = SocketHandle()
    handle.adopt(near.fileno())
    threading.Timer(0.05, handle.cut).start()
    assert near.recv(1) == b""
    handle.release()


def test_a_socket_that_comes_after_the_cut_is_shut_down(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A handle that is cut shuts down what it adopts."""
    handle = SocketHandle()
    handle.cut()
    handle.adopt(pair[0].fileno())
    assert pair[1].recv(1) == b""
    handle.release()


def test_a_released_socket_is_not_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    """After its release the socket may belong to another attempt, and a cut does not reach it."""
    handle = SocketHandle()
    handle.adopt(pair[0].fileno())
    handle.release()
    handle.cut()
    pair[0].sendall(b"a")
    assert pair[1].recv(1) == b"a"


def test_a_dropped_handle_closes_its_duplicate(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A handle that was not released leaves no descriptor open."""
    near, far = pair
    SocketHandle().adopt(near.fileno())
    near.close()
    far.settimeout(LEFT)
    assert far.recv(1) == b""


def test_a_cut_of_an_unconnected_socket_is_quiet() -> None:
    """A socket that is neither bound nor connected is cut without an error."""
    with socket.socket() as sock:
        handle = SocketHandle()
        handle.adopt(sock.fileno())
        handle.cut()
        handle.release()
    assert handle.is_cut
