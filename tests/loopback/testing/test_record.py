"""Recordings of a client's exchanges, and the secrets that are not in them."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from pi_native import (
    AbortError,
    AssistantMessage,
    AssistantMessageEventStream,
    AuthenticationError,
    Client,
    ConfigurationError,
    DoneEvent,
    GatewayConnectionError,
    PiNativeError,
    StreamTimeoutError,
    ToolCall,
)
from pi_native.testing import FakeGateway, HangUp, HTTPError, Raw, Reply, Slow, Stall, record
from pi_native.testing._recording.file import RecordedTurn, load

from ...conftest import wait_until
from ...forking import forks, in_child
from ..calls import KEY

MODEL = "acme/large"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the recording."""
    return tmp_path / "recording.jsonl"


def body(exchange: RecordedTurn) -> bytes:
    """Return the recorded body."""
    return b"".join(data for _, data in exchange.pieces)


def refused_address() -> str:
    """Return an address that refuses connections."""
    with FakeGateway() as gone:
        return gone.url


class TestWhatIsKept:
    """Requests, responses and times."""

    def test_a_turn_is_kept_with_its_request_and_the_bytes_of_its_answer(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """The file has method, path, status, headers, both bodies and a complete end."""
        frames = [b'data: {"type":"start","partial":{}}\n\n', ": é\n\n".encode(), b": \xff\n\n"]
        gateway.raw([*frames, b"data: [DONE]\n\n"], status=202, headers={"Via": "me"})
        with record(client, path), client.stream(MODEL, "Hi", temperature=0.5) as stream:
            read(stream)

        [exchange] = load(path)
        assert (exchange.method, exchange.path) == ("POST", "/v1/pi/stream")
        assert json.loads(exchange.body) == gateway.last_request.json
        assert (exchange.status, exchange.reason) == (202, "Accepted")
        assert exchange.headers["Via"] == "me"
        assert exchange.headers["Transfer-Encoding"] == "chunked"
        assert body(exchange) == b"".join([*frames, b"data: [DONE]\n\n"])
        assert exchange.end == "complete"

    def test_what_one_read_brings_is_a_line_with_its_time(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """Events that are sent separately are separate lines with their own times, in order."""
        gateway.raw([b": 1\n\n", b": 2\n\n", b"data: [DONE]\n\n"], fault=Stall(after=1))
        with record(client, path):
            stream = client.stream(MODEL, "Hi")
            assert wait_until(lambda: stream.stats.bytes)
            arrived = time.monotonic()
            assert wait_until(lambda: time.monotonic() > arrived + 0.03)
            gateway.release()
            read(stream)

        [exchange] = load(path)
        assert exchange.pieces[0][1] == b": 1\n\n"
        times = [exchange.answered_at, *(at for at, _ in exchange.pieces), exchange.ended_at]
        assert times == sorted(times)
        assert times[2] - times[1] > 0.025

    def test_the_gateways_pages_are_kept(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """Requests in the thread of the caller are recorded as well."""
        with record(client, path):
            client.health()
            client.models()
            client.usage()
            client.check_credentials()

        exchanges = load(path)
        pages = ["/healthz", "/v1/models", "/v1/usage", "/v1/credentials/check"]
        assert [exchange.path for exchange in exchanges] == pages
        assert {exchange.method for exchange in exchanges} == {"GET"}
        assert json.loads(body(exchanges[0])) == {"ok": True, "version": gateway.version}
        assert {exchange.end for exchange in exchanges} == {"complete"}

    def test_a_session_of_ones_own_is_recorded(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """A session of the client or of one call is recorded."""
        gateway.reply("one").reply("two")
        with requests.Session() as session, Client(gateway.url, KEY, session=session) as other:
            with record(client, path):
                assert client.complete(MODEL, "Hi", session=session).text == "one"
            [of_a_call] = load(path)
            with record(other, path):
                assert other.complete(MODEL, "Hi").text == "two"
            [of_a_client] = load(path)
        for exchange in (of_a_call, of_a_client):
            assert exchange.status == 200
            assert body(exchange).endswith(b"data: [DONE]\n\n")
            assert exchange.end == "complete"

    def test_a_compressed_body_is_kept_as_it_was_read(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """A compressed body is recorded as text."""
        gateway.raw(
            gzip.compress(b'data: {"type":"mystery"}\n\ndata: [DONE]\n\n'),
            headers={"Content-Encoding": "gzip"},
        )
        with record(client, path):
            read(client.stream(MODEL, "Hi"))
        [exchange] = load(path)
        assert body(exchange).startswith(b'data: {"type":"mystery"}')

    def test_threads_do_not_disturb_each_other(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """Turns in parallel have their own responses, and their lines are together."""
        together = threading.Barrier(8)

        def answer(request: Any) -> Reply:
            together.wait(5)
            return Reply([request.last_user_text] * 20)

        gateway.default = answer

        def ask(number: int) -> None:
            assert client.complete(MODEL, f"<{number}>").text == f"<{number}>" * 20

        with record(client, path):
            threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        exchanges = load(path)
        assert [exchange.number for exchange in exchanges] == list(range(1, 9))
        for exchange in exchanges:
            asked = json.loads(exchange.body)["context"]["messages"][0]["content"]
            assert body(exchange).count(f'"delta":"{asked}"'.encode()) == 20
        numbers = [json.loads(line)["exchange"] for line in path.read_bytes().splitlines()[1:]]
        assert [number for number, _ in itertools.groupby(numbers)] == list(dict.fromkeys(numbers))

    def test_every_attempt_of_a_turn_is_kept(self, gateway: FakeGateway, path: Path) -> None:
        """A retried turn is two exchanges."""
        gateway.error(500, headers={"Retry-After": "0"}).reply("There.")
        with Client(gateway.url, KEY, max_retries=1) as client, record(client, path):
            assert client.complete(MODEL, "Hi").text == "There."
        assert [exchange.status for exchange in load(path)] == [500, 200]

    def test_a_recording_replaces_the_one_before_and_ends_with_its_block(
        self, client: Client, path: Path
    ) -> None:
        """Requests after the block are not recorded, and a new recording replaces the file."""
        with record(client, path):
            client.health()
            client.health()
        client.health()
        assert len(load(path)) == 2
        with record(client, path):
            client.models()
        assert [exchange.path for exchange in load(path)] == ["/v1/models"]


class TestTurnsThatFail:
    """Turns that fail or are cancelled."""

    def test_an_http_error_is_kept(self, gateway: FakeGateway, client: Client, path: Path) -> None:
        """The file has its status and its body."""
        gateway.error(401, "who are you?")
        with record(client, path), pytest.raises(AuthenticationError):
            client.complete(MODEL, "Hi")
        [exchange] = load(path)
        assert (exchange.status, exchange.end) == (401, "complete")
        assert b"who are you?" in body(exchange)

    @pytest.mark.parametrize(("reset", "end"), [(False, "cut"), (True, "reset")])
    def test_an_answer_that_is_cut_short_is_kept_as_far_as_it_came(
        self, gateway: FakeGateway, client: Client, path: Path, reset: bool, end: str
    ) -> None:
        """The file says whether the connection was closed or reset."""
        gateway.reply("one two three", fault=[Slow(0.01), HangUp(after=3, reset=reset)])
        with record(client, path), pytest.raises(GatewayConnectionError):
            client.complete(MODEL, "Hi")
        [exchange] = load(path)
        assert body(exchange).count(b"data: ") == 3
        assert exchange.end == end

    def test_an_answer_that_does_not_come_is_kept_as_such(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """A connection that is closed before the headers has no status."""
        gateway.reply("never", fault=HangUp(after=None))
        with record(client, path), pytest.raises(GatewayConnectionError):
            client.complete(MODEL, "Hi")
        [exchange] = load(path)
        assert (exchange.status, exchange.pieces, exchange.end) == (None, [], "cut")

    def test_a_gateway_that_is_not_there_is_kept_as_such(self, path: Path) -> None:
        """A refused connection is an exchange without a response."""
        with (
            Client(refused_address(), KEY, max_retries=0) as client,
            record(client, path),
            pytest.raises(GatewayConnectionError),
        ):
            client.complete(MODEL, "Hi")
        [exchange] = load(path)
        assert (exchange.status, exchange.end) == (None, "cut")

    def test_a_request_that_cannot_be_sent_is_not_kept(
        self, gateway: FakeGateway, path: Path
    ) -> None:
        """A request that was not sent is no exchange."""
        with (
            Client(gateway.url, KEY, headers={"X-A": "a\nb"}, max_retries=0) as client,
            record(client, path),
            pytest.raises(ConfigurationError),
        ):
            client.complete(MODEL, "Hi")
        assert load(path) == []

    def test_an_aborted_turn_is_kept_as_far_as_it_came(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """The end is "left", because the client closed the connection."""
        gateway.reply("one two three", fault=Stall(after=3))
        with record(client, path), client.stream(MODEL, "Hi") as stream:
            for event in stream:
                if event.type == "text_delta":
                    stream.abort()
            assert stream.result().stop_reason == "aborted"
        [exchange] = load(path)
        assert body(exchange).count(b"data: ") == 3
        assert exchange.end == "left"

    def test_a_turn_that_is_aborted_before_its_answer_is_kept(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """It has no status, and the client left."""
        gateway.reply("never", fault=Stall(after=None))
        with record(client, path), client.stream(MODEL, "Hi") as stream:
            assert gateway.wait_for_request().stalled.wait(5)
            stream.abort()
            with pytest.raises(AbortError):
                stream.result(5)
        [exchange] = load(path)
        assert (exchange.status, exchange.end) == (None, "left")

    @pytest.mark.parametrize("own_session", [False, True])
    def test_a_turn_that_times_out_was_left(
        self, gateway: FakeGateway, client: Client, path: Path, own_session: bool
    ) -> None:
        """A timeout is an end by the client."""
        gateway.reply("one two", fault=Stall(after=3))
        with requests.Session() as session, record(client, path):
            options = {"session": session} if own_session else {}
            with pytest.raises(StreamTimeoutError):
                client.complete(MODEL, "Hi", stream_idle_timeout_ms=60, **options)
        [exchange] = load(path)
        assert body(exchange).count(b"data: ") == 3
        assert exchange.end == "left"

    def test_of_a_turn_that_runs_on_what_came_by_then_is_kept(
        self, gateway: FakeGateway, client: Client, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The block waits for a short time only, and the turn continues."""
        monkeypatch.setattr("pi_native.testing._recording.record._GRACE", 0.05)
        gateway.reply("one two three", fault=Stall(after=3))
        with record(client, path):
            stream = client.stream(MODEL, "Hi")
            request = gateway.wait_for_request()
            assert request.stalled.wait(5)
            assert wait_until(lambda: stream.partial is not None and stream.partial.text == "one")
        written = path.read_bytes()
        request.release()
        assert stream.result(5).text == "one two three"
        assert path.read_bytes() == written
        [exchange] = load(path)
        assert body(exchange).count(b"data: ") == 3
        assert exchange.end == "left"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
    def test_a_full_disk_fails_the_block_and_not_the_turn(self, client: Client) -> None:
        """The turn succeeds, and the end of the block raises OSError."""
        with pytest.raises(OSError, match="No space left"), record(client, "/dev/full"):
            assert client.complete(MODEL, "Hi").text.startswith("Hello!")

    def test_one_recording_at_a_time(self, client: Client, path: Path) -> None:
        """A second recording of the same client is refused, and the first one continues."""
        with record(client, path):
            with pytest.raises(RuntimeError, match="already being recorded"), record(client, path):
                pass
            client.health()
        assert [exchange.path for exchange in load(path)] == ["/healthz"]

    @forks
    def test_a_forked_child_writes_nothing(self, client: Client, path: Path) -> None:
        """The child does not own the file, and the parent continues to record."""
        with record(client, path):
            client.health()
            assert in_child(lambda: len(client.models())) == 1
            client.usage()
        assert [exchange.path for exchange in load(path)] == ["/healthz", "/v1/usage"]


class TestSecrets:
    """Secrets that are not recorded."""

    def test_the_key_is_nowhere(self, gateway: FakeGateway, client: Client, path: Path) -> None:
        """The key is in no header, prompt or answer of the file."""
        gateway.reply(f"Your key is {KEY}, they say")
        gateway.add(HTTPError(403, f"{KEY} may not", headers={"Via": f"Bearer {KEY}"}))
        with record(client, path):
            message = client.complete(MODEL, f"My key is {KEY}")
            with pytest.raises(AuthenticationError):
                client.complete(MODEL, "Again")
        assert KEY in message.text
        written = path.read_text("utf-8")
        assert KEY not in written
        assert "authorization" not in written.lower()
        assert "Your key is" in written
        assert load(path)[1].headers["Via"] == "Bearer ***"

    def test_a_key_that_two_reads_bring_is_found(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """The body is searched as a whole, and its pieces keep their lengths."""
        pieces = [b": " + KEY[:9].encode(), KEY[9:].encode() + b"\n\n", b"data: [DONE]\n\n"]
        gateway.raw(pieces, fault=Stall(after=1))
        with record(client, path):
            stream = client.stream(MODEL, "Hi")
            assert wait_until(lambda: stream.stats.bytes)
            gateway.release()
            read(stream)
        [exchange] = load(path)
        assert len(exchange.pieces) >= 2
        assert body(exchange) == b": " + b"*" * len(KEY) + b"\n\ndata: [DONE]\n\n"

    def test_the_key_of_one_call_is_a_key(self, gateway: FakeGateway, path: Path) -> None:
        """The key of a call and the value of a secret header are replaced."""
        gateway.api_key = "another-key"
        gateway.default = lambda _: Reply("another-key, my-private-word, my-public-word")
        with (
            Client(gateway.url, KEY, headers={"X-Api-Key": "my-private-word"}) as own,
            record(own, path),
        ):
            own.complete(MODEL, "Hi", api_key="another-key")
        written = path.read_text("utf-8")
        assert "another-key" not in written
        assert "my-private-word" not in written
        assert "my-public-word" in written

    def test_what_a_session_adds_is_secret_too(self, gateway: FakeGateway, path: Path) -> None:
        """Authorization and cookies of a session are replaced."""
        gateway.api_key = None
        gateway.default = lambda _: Reply("session-word, cookie-word, aGFuczpzZWNyZXQ=")
        with requests.Session() as session:
            session.headers["X-Auth-Token"] = "session-word"
            session.cookies.set("id", "cookie-word")
            session.auth = ("hans", "secret")
            with Client(gateway.url, session=session) as client, record(client, path):
                client.complete(MODEL, "Hi")
        written = path.read_text("utf-8")
        for secret in ("session-word", "cookie-word", "aGFuczpzZWNyZXQ="):
            assert secret not in written

    def test_only_harmless_response_headers_are_stored(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """A header with an unknown name may hold a secret, so the file does not have it."""
        dropped = ["Set-Cookie", "X-Api-Key", "Proxy-Authorization", "X-Echo", "X-Internal-Host"]
        kept = ["X-Request-Id", "X-RateLimit-Remaining-Tokens", "Retry-After", "WWW-Authenticate"]
        gateway.error(400, headers=dict.fromkeys([*dropped, *kept], "value-of-it"))
        with record(client, path), pytest.raises(Exception, match="Bad Request"):
            client.complete(MODEL, "Hi")
        [exchange] = load(path)
        assert not exchange.headers.keys() & set(dropped)
        assert exchange.headers.keys() >= set(kept)

    def test_headers_for_the_provider_are_not_stored(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """The option `headers` is in the request body, and the file has its harmless ones only."""
        headers = {"x-api-key": "provider-word", "X-Tenant": "tenant-word", "User-Agent": "mine/1"}
        with record(client, path):
            client.complete(MODEL, "Hi", headers=headers)
        written = path.read_text("utf-8")
        assert "provider-word" not in written
        assert "tenant-word" not in written
        assert "mine/1" in written
        assert gateway.last_request.options["headers"] == headers

    def test_members_with_a_secret_name_are_not_stored(
        self, gateway: FakeGateway, client: Client, path: Path
    ) -> None:
        """The same is true of prompts, options, tool calls and the pages of the gateway."""
        call = ToolCall("call_1", "login", {"password": "tool-word"})
        gateway.events([DoneEvent("toolUse", AssistantMessage([call], stop_reason="toolUse"))])
        gateway.usage_reports[0]["metadata"] = {"accessToken": "page-word", "plan": "pro"}
        with record(client, path):
            client.complete(
                MODEL, 'Use {"api_key": "prompt-word"}', metadata={"secret": "option-word"}
            )
            client.usage()
        written = path.read_text("utf-8")
        for word in ("tool-word", "page-word", "prompt-word", "option-word"):
            assert word not in written
        assert '\\"plan\\":\\"pro\\"' in written

    def test_users_in_urls_are_not_recorded(self, gateway: FakeGateway, path: Path) -> None:
        """Users and passwords are removed from the base URL, headers and bodies."""
        gateway.add(
            Raw(
                b"see https://anna:pass@example.org/ or https:\\/\\/bert:word@example.org/",
                status=302,
                headers={"Location": "https://carla:let-me-in@example.org/login"},
            )
        )
        address = gateway.url.replace("://", "://dora:open-sesame@")
        with Client(address, KEY, max_retries=0) as client, record(client, path):
            with pytest.raises(Exception, match="302"):
                client.complete(MODEL, "ftp://emil@example.org")
            client.health()
        written = path.read_text("utf-8")
        people = ["anna", "bert", "carla", "dora", "emil", "pass@", "word@", "let-me", "sesame"]
        assert [name for name in people if name in written] == []
        assert load(path)[0].headers["Location"] == "https://example.org/login"
        assert [exchange.path for exchange in load(path)] == ["/v1/pi/stream", "/healthz"]


def read(stream: AssistantMessageEventStream) -> None:
    """Read the stream to its end, also if it fails."""
    with contextlib.suppress(PiNativeError):
        list(stream)
