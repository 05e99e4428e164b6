"""Faults of the fake gateway, seen from a raw socket, and its end."""

import contextlib
import gc
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme

from pi_native.testing import (
    BadChunk,
    Endless,
    FakeGateway,
    Fault,
    Garbage,
    HangUp,
    Reply,
    Slow,
    Stall,
)

from ..peer import LAST_CHUNK

BODY = b'{"modelId":"acme/large","context":{"messages":[]}}'
TURN = (
    b"POST /v1/pi/stream HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer test-key\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
BIG = 64 * 1024 * 1024


class Peer:
    """A client without HTTP: it sends bytes and reads what comes."""

    def __init__(self, gateway: FakeGateway, sent: bytes = TURN) -> None:
        self.sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
        self.sock.sendall(sent)
        self._rest = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def read_until(self, mark: bytes) -> bytes:
        """Read to the end of the mark, or to the end; the rest stays for the next call."""
        while mark not in self._rest and (data := self.sock.recv(65536)):
            self._rest += data
        before, found, self._rest = self._rest.partition(mark)
        return before + found

    def read_all(self) -> bytes:
        """Read until the gateway closes."""
        return self._rest + b"".join(iter(lambda: self.sock.recv(65536), b""))

    def has_nothing_to_read(self) -> bool:
        """Return whether neither data nor the end of it has arrived."""
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.sock.recv(1)
            return False
        self.sock.settimeout(5)
        return not self._rest


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway with its default key."""
    with FakeGateway() as gateway:
        yield gateway


def frames(answer: bytes) -> list[str]:
    """Return the kinds of the frames in a response."""
    data = [line[6:] for line in answer.split(b"\n") if line.startswith(b"data: ")]
    return ["[DONE]" if line == b"[DONE]" else json.loads(line)["type"] for line in data]


def wait_until_accepted(gateway: FakeGateway) -> None:
    """Wait for the first connection; one that is not accepted yet would be reset."""
    deadline = time.monotonic() + 5
    while not gateway.connections:
        assert time.monotonic() < deadline


class TestStall:
    """Responses that stop."""

    @pytest.mark.parametrize("after", [0, 1, 3, 6])
    def test_stalls_after_so_many_events_until_released(self, gateway: FakeGateway, after: int):
        """The rest comes after the release, and the connection can be used again."""
        gateway.reply("Hello", fault=Stall(after))

        with Peer(gateway) as peer:
            request = gateway.wait_for_request()
            assert request.stalled.wait(5)
            before = peer.read_until(b"\r\n\r\n")
            while len(frames(before)) < after:
                before += peer.read_until(b"\n\n\r\n")
            assert peer.has_nothing_to_read()

            gateway.release()
            answer = before + peer.read_until(LAST_CHUNK)
            assert answer.endswith(LAST_CHUNK)

        assert len(frames(before)) == after
        assert frames(answer)[-2:] == ["done", "[DONE]"]

    def test_stalls_before_any_byte(self, gateway: FakeGateway):
        """`after=None` stops before the headers."""
        gateway.reply("Hello", fault=Stall(after=None))

        with Peer(gateway) as peer:
            request = gateway.wait_for_request()
            assert request.stalled.wait(5)
            assert peer.has_nothing_to_read()
            request.release()
            assert peer.read_until(LAST_CHUNK).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_stalls_before_the_end_of_the_body_when_there_are_fewer_events(
        self, gateway: FakeGateway
    ):
        """A fault past the last event comes before the end of the body."""
        gateway.reply("Hello", fault=Stall(after=1000))

        with Peer(gateway) as peer:
            assert gateway.wait_for_request().stalled.wait(5)
            assert frames(peer.read_until(b"[DONE]\n\n\r\n"))[-1] == "[DONE]"
            assert peer.has_nothing_to_read()

    def test_continues_after_its_time(self, gateway: FakeGateway):
        """A stall with `seconds` ends by itself."""
        gateway.reply("Hello", fault=Stall(after=1, seconds=0.05))

        began = time.monotonic()
        with Peer(gateway) as peer:
            assert peer.read_until(LAST_CHUNK).endswith(LAST_CHUNK)
        assert time.monotonic() - began >= 0.05

    def test_does_not_happen_to_a_request_released_already(self, gateway: FakeGateway):
        """A release before the stall prevents it."""
        gateway.reply("Hello", fault=[Slow(0.01), Stall(after=4)])

        with Peer(gateway) as peer:
            gateway.wait_for_request().release()
            assert peer.read_until(LAST_CHUNK).endswith(LAST_CHUNK)

    @pytest.mark.parametrize("leave", [socket.socket.close, lambda s: s.shutdown(socket.SHUT_WR)])
    def test_notices_within_a_second_that_the_client_went_away(
        self, gateway: FakeGateway, leave: Callable[[socket.socket], None]
    ):
        """A close or half-close sets the event, and the gateway closes its side."""
        gateway.reply("Hello", fault=Stall(after=2))

        with Peer(gateway) as peer:
            request = gateway.wait_for_request()
            assert request.stalled.wait(5)
            assert not request.client_gone.is_set()
            leave(peer.sock)
            assert request.client_gone.wait(1)
        assert not request.answered.is_set()

    def test_keeps_a_request_that_came_during_the_stall(self, gateway: FakeGateway):
        """Early bytes belong to the next turn, and are no close."""
        gateway.reply("one", fault=Stall()).reply("two")

        with Peer(gateway, TURN + TURN) as peer:
            gateway.wait_for_request().release()
            assert b'"delta":"one"' in peer.read_until(LAST_CHUNK)
            assert gateway.wait_for_request().connection == 1
            assert b'"delta":"two"' in peer.read_until(LAST_CHUNK)


class TestHangUp:
    """Responses that are cut."""

    @pytest.mark.parametrize("after", [1, 3])
    def test_ends_between_two_events(self, gateway: FakeGateway, after: int):
        """The chunks are complete, the last one is missing, then comes a FIN."""
        gateway.reply("Hello", fault=HangUp(after))

        with Peer(gateway) as peer:
            answer = peer.read_all()

        assert answer.endswith(b"}\n\n\r\n")
        assert len(frames(answer)) == after

    def test_ends_before_any_byte_or_right_after_the_headers(self, gateway: FakeGateway):
        """None is before the headers, and 0 is after them."""
        gateway.reply(fault=HangUp(None)).reply(fault=HangUp())

        with Peer(gateway) as peer:
            assert peer.read_all() == b""
        with Peer(gateway) as peer:
            answer = peer.read_all()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\n")

    def test_ends_inside_an_event(self, gateway: FakeGateway):
        """The chunk is longer than the bytes that come."""
        gateway.raw([b"data: {}\n\n", b"data: {}\n\n"], fault=HangUp(after=1, mid_event=True))

        with Peer(gateway) as peer:
            assert peer.read_all().endswith(b"\r\n\r\na\r\ndata: {}\n\n\r\na\r\ndata:")

    def test_ends_inside_the_headers_or_the_last_chunk(self, gateway: FakeGateway):
        """Half of the next piece is sent, whatever it is."""
        gateway.reply(fault=HangUp(None, mid_event=True)).raw(
            b"data: {}\n\n", fault=HangUp(after=9, mid_event=True)
        )

        with Peer(gateway) as peer:
            answer = peer.read_all()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\n\r\n" not in answer
        with Peer(gateway) as peer:
            assert peer.read_all().endswith(b"data: {}\n\n\r\n0\r\n")

    def test_ends_short_of_a_given_length(self, gateway: FakeGateway):
        """A body with a length is cut in the same way."""
        gateway.raw(b"data: {}\n\n", framing="length", fault=HangUp(mid_event=True))

        with Peer(gateway) as peer:
            answer = peer.read_all()
        assert b"Content-Length: 10\r\n" in answer
        assert answer.endswith(b"\r\n\r\ndata:")

    def test_resets_the_connection(self, gateway: FakeGateway):
        """The peer gets an RST."""
        gateway.reply("Hello", fault=[Stall(after=1), HangUp(after=1, reset=True)])

        with Peer(gateway) as peer:
            peer.read_until(b"}\n\n\r\n")
            gateway.release()
            with pytest.raises(ConnectionResetError):
                peer.read_all()

    def test_is_not_the_clients_doing(self, gateway: FakeGateway):
        """A cut by the gateway does not set `client_gone`."""
        gateway.reply("Hello", fault=HangUp(after=1))

        with Peer(gateway) as peer:
            peer.read_all()
        request = gateway.wait_for_request()
        assert not request.client_gone.is_set()
        assert not request.answered.is_set()

    def test_leaves_the_next_turn_alone(self, gateway: FakeGateway):
        """A fault belongs to one entry of the script."""
        gateway.reply("Hello", fault=HangUp()).reply("again")

        with Peer(gateway) as peer:
            peer.read_all()
        with Peer(gateway) as peer:
            assert peer.read_until(LAST_CHUNK).endswith(LAST_CHUNK)


class TestOtherFaults:
    """Garbage, delays, raw responses, and several faults."""

    def test_puts_garbage_between_two_events(self, gateway: FakeGateway):
        """The response continues after the garbage."""
        gateway.reply("Hello", fault=[Garbage(after=1), Garbage(after=2, data=b"\xff\x00")])

        with Peer(gateway) as peer:
            answer = peer.read_until(LAST_CHUNK)

        assert b"\r\n1d\r\ndata: 429 Too Many Requests\n\n\r\n" in answer
        assert b"\r\n2\r\n\xff\x00\r\n" in answer
        assert answer.index(b'"start"') < answer.index(b"429 Too") < answer.index(b'"text_start"')
        assert answer.endswith(b"\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def test_puts_garbage_before_the_response(self, gateway: FakeGateway):
        """The bytes come before the status line."""
        gateway.reply("Hello", fault=Garbage(None, b"SSH-2.0-OpenSSH\r\n"))

        with Peer(gateway) as peer:
            assert peer.read_until(LAST_CHUNK).startswith(b"SSH-2.0-OpenSSH\r\nHTTP/1.1 200 OK\r\n")

    def test_waits_before_each_event(self, gateway: FakeGateway):
        """Each of the frames is delayed."""
        gateway.reply("Hello", fault=Slow(0.02))

        began = time.monotonic()
        with Peer(gateway) as peer:
            peer.read_until(LAST_CHUNK)
        assert time.monotonic() - began >= 6 * 0.02

    def test_notices_during_a_delay_that_the_client_went_away(self, gateway: FakeGateway):
        """A delay ends when the client closes the connection."""
        gateway.reply("Hello", fault=Slow(60))

        with Peer(gateway):
            request = gateway.wait_for_request()
        assert request.client_gone.wait(1)

    def test_sends_a_response_verbatim_and_closes(self, gateway: FakeGateway):
        """The bytes are sent unchanged."""
        gateway.verbatim([b"HTTP/1.1 2", b"00 \r\nnonsense"])

        with Peer(gateway) as peer:
            assert peer.read_all() == b"HTTP/1.1 200 \r\nnonsense"

    def test_sends_a_response_verbatim_and_stays(self, gateway: FakeGateway):
        """A response with an end of its own can keep the connection."""
        gateway.verbatim(b"HTTP/1.1 204 No Content\r\n\r\n", keep_alive=True)

        with Peer(gateway, TURN + TURN) as peer:
            answer = peer.read_until(LAST_CHUNK)
        assert answer.startswith(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n")

    def test_stalls_in_the_middle_of_a_verbatim_response(self, gateway: FakeGateway):
        """Pieces count like events."""
        gateway.verbatim([b"HTTP/1.1 200 OK\r\n", b"\r\n"], fault=Stall(after=1))

        with Peer(gateway) as peer:
            assert gateway.wait_for_request().stalled.wait(5)
            gateway.release()
            assert peer.read_all() == b"HTTP/1.1 200 OK\r\n\r\n"

    def test_breaks_off_an_error(self, gateway: FakeGateway):
        """Errors have faults as well."""
        gateway.error(500, "no", fault=HangUp(mid_event=True))

        with Peer(gateway) as peer:
            assert peer.read_all().endswith(b'\r\n\r\n{"error":{"type":"upstrea')

    def test_sends_a_wrong_size_of_a_chunk(self, gateway: FakeGateway):
        """The sizes of the next chunk and of the last one are wrong, and the data is complete."""
        gateway.raw([b"one", b"two", b"three"], fault=[BadChunk(1), BadChunk(9, size=b"1")])

        with Peer(gateway) as peer:
            answer = peer.read_until(b"\r\n1\r\n\r\n")
        assert answer.endswith(b"\r\n3\r\none\r\nzz\r\ntwo\r\n5\r\nthree\r\n1\r\n\r\n")

    @pytest.mark.parametrize("after", [1, 99])
    def test_never_ends(self, gateway: FakeGateway, after: int):
        """The data repeats in the middle, or at the end."""
        gateway.raw([b"one", b"two"], fault=Endless(after, b"more", seconds=0))

        with Peer(gateway) as peer:
            assert peer.read_until(b"more\r\n" + 1000 * b"4\r\nmore\r\n").count(b"more") == 1001
            request = gateway.requests[0]
            assert not request.answered.is_set()
        assert request.client_gone.wait(5)

    def test_ends_when_it_is_released(self, gateway: FakeGateway):
        """The response continues after the release."""
        gateway.raw([b"one", b"two"], fault=Endless(1))

        with Peer(gateway) as peer:
            peer.read_until(b": still there\n\n\r\n")
            gateway.release()
            assert peer.read_until(LAST_CHUNK).endswith(b"3\r\ntwo\r\n0\r\n\r\n")

    def test_does_not_hold_up_its_closing(self):
        """A gateway that sends without end to a client that does not read can close."""
        endless = FakeGateway().raw(b"one", fault=Endless(0, b"x" * 65536, seconds=0))
        with endless as gateway, Peer(gateway) as peer:
            peer.read_until(b"xxx")
            gateway.close()

    @pytest.mark.parametrize(
        "fault", [Stall, HangUp, Garbage, BadChunk, Endless, lambda after: Slow(1, after)]
    )
    def test_must_not_strike_before_the_beginning(self, fault: Callable[[int], Fault]):
        """A negative `after` is a ValueError."""
        with pytest.raises(ValueError, match="negative"):
            fault(-1)


class TestConnections:
    """HTTP/1.1 as far as tests need it."""

    def test_serves_turn_after_turn_on_one_connection(self, gateway: FakeGateway):
        """A connection is reused after a complete response."""
        with Peer(gateway) as peer:
            peer.read_until(LAST_CHUNK)
            peer.sock.sendall(TURN)
            peer.read_until(LAST_CHUNK)
            assert (gateway.connections, gateway.open_connections) == (1, 1)

    @pytest.mark.parametrize("line", [b"\r\nConnection: close\r\n", b" HTTP/1.0\r\n"])
    def test_closes_when_asked_to(self, gateway: FakeGateway, line: bytes):
        """The client asks with a header, or with HTTP/1.0."""
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        old = b" HTTP/1.1\r\n" if b"1.0" in line else b"\r\n"
        with Peer(gateway, request.replace(old, line, 1)) as peer:
            answer = peer.read_all()
        assert b"\r\nConnection: close\r\n" in answer

    @pytest.mark.parametrize(
        "request_head",
        [
            b"nonsense\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    def test_refuses_what_is_not_http(self, gateway: FakeGateway, request_head: bytes):
        """The response is a 400, and the connection is closed."""
        with Peer(gateway, request_head) as peer:
            assert peer.read_all().startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert gateway.requests == []

    def test_serves_many_at_once(self, gateway: FakeGateway):
        """Each connection has its own thread."""
        together = threading.Barrier(50)

        def meet(_request: object) -> Reply:
            together.wait(5)
            return Reply("Hello world")

        gateway.default = meet

        def one_turn(_number: int) -> bytes:
            with Peer(gateway) as peer:
                return peer.read_until(LAST_CHUNK)

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(one_turn, range(50)))

        assert all(answer.endswith(LAST_CHUNK) for answer in answers)
        assert {request.connection for request in gateway.requests} == set(range(1, 51))

    def test_speaks_tls(self):
        """With a context the same responses come over https, with TLS's own end."""
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)

        with FakeGateway(tls=server) as gateway:
            assert gateway.url.startswith("https://127.0.0.1:")
            gateway.raw(b"data: {}\n\n", framing="close").reply("Hello", fault=Stall(after=1))
            with tls_peer(gateway, client) as peer:
                assert peer.read_all().endswith(b"\r\n\r\ndata: {}\n\n")
            gateway.wait_for_request()
            with tls_peer(gateway, client) as peer:
                request = gateway.wait_for_request()
                assert frames(peer.read_until(b"}\n\n\r\n")) == ["start"]
            assert request.client_gone.wait(1)


@contextlib.contextmanager
def tls_peer(gateway: FakeGateway, context: ssl.SSLContext) -> Iterator[Peer]:
    """Connect with TLS; a connection that ends without TLS's own end is an error."""
    with Peer(gateway, b"") as peer:
        peer.sock = context.wrap_socket(
            peer.sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        )
        peer.sock.sendall(TURN)
        yield peer


class TestLife:
    """Start and end."""

    def test_can_be_started_and_closed_by_hand(self):
        """Closing twice is possible, starting twice is an error."""
        gateway = FakeGateway()
        assert gateway.start() is gateway
        with pytest.raises(RuntimeError, match="started already"):
            gateway.start()
        gateway.close()
        gateway.close()

    def test_has_no_address_before_it_is_started(self):
        """The error says what to do."""
        with pytest.raises(RuntimeError, match="use it in a with statement"):
            _ = FakeGateway().url

    def test_can_be_closed_unstarted(self):
        """Closing a gateway that was not started does nothing."""
        FakeGateway().close()

    def test_shows_where_it_is_and_what_it_waits_for(self):
        """Its repr has address and counts, and no key."""
        gateway = FakeGateway("secret").reply("Hello")
        assert repr(gateway) == "<FakeGateway not started, 0 requests, 1 pending>"
        with gateway:
            assert repr(gateway) == f"<FakeGateway {gateway.url}, 0 requests, 1 pending>"

    def test_takes_a_port(self):
        """The port of a closed gateway is free at once."""
        with FakeGateway() as gateway, Peer(gateway) as peer:
            peer.read_until(LAST_CHUNK)
        with FakeGateway(port=gateway.port) as again:
            assert again.url == gateway.url

    @pytest.mark.parametrize(
        "fault", [Stall(None), Stall(0), Stall(after=2), Slow(60), Stall(seconds=60)]
    )
    def test_closes_at_once_while_an_answer_is_stuck(self, fault: Fault):
        """The client gets the end, which does not count as its own close."""
        with FakeGateway().reply("Hello", fault=fault) as gateway:
            peer = Peer(gateway)
            request = gateway.wait_for_request()
            began = time.monotonic()
        with peer:
            peer.read_all()
        assert time.monotonic() - began < 1
        assert not request.client_gone.is_set()

    def test_closes_at_once_while_the_next_request_waits(self):
        """A request that came during a slow response does not delay `close()`."""
        with FakeGateway().reply("Hello", fault=Slow(60)) as gateway:
            peer = Peer(gateway, TURN + TURN)
            gateway.wait_for_request()
            peer.read_until(b"\r\n\r\n")
            began = time.monotonic()
        with peer:
            peer.read_all()
        assert time.monotonic() - began < 4

    @pytest.mark.parametrize("sent", [b"", b"POST /v1", TURN[:-1]])
    def test_closes_at_once_while_a_request_is_incomplete(self, sent: bytes):
        """A client that sends nothing does not delay `close()`."""
        with FakeGateway() as gateway:
            peer = Peer(gateway, sent)
            wait_until_accepted(gateway)
        with peer:
            assert peer.read_all() == b""

    def test_closes_at_once_while_the_client_does_not_read(self):
        """A response that is larger than all buffers is cut."""
        with FakeGateway().raw(b"x" * BIG) as gateway, Peer(gateway) as peer:
            request = gateway.wait_for_request()
            peer.read_until(b"\r\n\r\n")
            began = time.monotonic()
            gateway.close()
            assert time.monotonic() - began < 1
        assert not request.answered.is_set()

    def test_closes_at_once_during_a_tls_handshake(self):
        """A client that does not start the handshake is cut."""
        with FakeGateway(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as gateway:
            peer = Peer(gateway, b"")
            wait_until_accepted(gateway)
        with peer:
            assert peer.read_all() == b""

    def test_leaves_no_thread_and_no_socket(self):
        """After closing no thread or socket is left, in any state of the connections."""
        threads = set(threading.enumerate())
        with FakeGateway().reply("a").reply("b", fault=Stall()).reply(fault=HangUp()) as gateway:
            peers = [Peer(gateway) for _ in range(4)]
            requests = [gateway.wait_for_request() for _ in peers]
            started = set(threading.enumerate()) - threads
        assert gateway.open_connections == 0
        assert len(requests) == 4
        assert all(thread.name.startswith("fake-gateway-") for thread in started)
        assert set(threading.enumerate()) == threads
        for peer in peers:
            peer.sock.close()
        gc.collect()  # an unclosed socket would be a ResourceWarning here, and so a failure

    def test_forgets_connections_that_have_ended(self, gateway: FakeGateway):
        """A gateway that runs for days does not grow with each client."""
        for _ in range(5):
            with Peer(gateway, b"") as peer:
                peer.sock.shutdown(socket.SHUT_WR)
                peer.read_all()
        assert gateway.connections == 5
        assert gateway.open_connections == 0

    def test_warns_of_a_thread_that_a_script_holds(self, monkeypatch: Any):
        """Closing does not wait without end for a function that does not return."""
        monkeypatch.setattr("pi_native.testing._server._JOIN_TIMEOUT", 0.01)
        held = threading.Event()

        def hold(_request: object) -> Reply:
            held.wait(5)
            return Reply()

        gateway = FakeGateway().start().add(hold)
        with Peer(gateway):
            gateway.wait_for_request()
            with pytest.warns(ResourceWarning, match="did not end"):
                gateway.close()
        held.set()
        for thread in threading.enumerate():
            if thread.name.startswith("fake-gateway"):
                thread.join(5)
