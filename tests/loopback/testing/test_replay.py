"""Replays of recordings: the same events and ends, at the requested speed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AuthGatewayError,
    Client,
    GatewayConnectionError,
    InvalidRequestError,
    PiNativeError,
    StreamTimeoutError,
    to_wire,
)
from pi_native.testing import FakeGateway, HangUp, Raw, Slow, Stall, record
from pi_native.testing._recording.file import load

from ...conftest import wait_until

DATA = Path(__file__).parent.parent.parent / "data"
CALLS = json.loads((DATA / "calls.json").read_text("utf-8"))
MODEL = "acme/large"
Turn = tuple[list[Any], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the recording."""
    return tmp_path / "recording.jsonl"


def client_of(gateway: FakeGateway, **settings: Any) -> Client:
    """Return a client without retries."""
    return Client(gateway.url, gateway.api_key, **{"max_retries": 0, **settings})


def turn(client: Client, model: str = MODEL, **options: Any) -> Turn:
    """Return the events of a turn, and its message or its failure."""
    events = []
    try:
        with client.stream(model, "Hi", **options) as stream:
            for event in stream:
                events.append(lasting(to_wire(event)))
            return events, lasting(to_wire(stream.result()))
    except PiNativeError as exc:
        said = str(exc).replace(client.base_url, "the gateway")
        return events, (type(exc), said, exc.partial and to_wire(exc.partial))


def turn_recorded(client: Client, path: Path) -> None:
    """Record one turn."""
    with record(client, path):
        turn(client)


def lasting(data: dict[str, Any]) -> dict[str, Any]:
    """Remove the time of a message that the client made."""
    message = data.get("error", data)
    if message.get("model") == MODEL.partition("/")[2]:
        message.pop("timestamp", None)
    return data


def same_again(gateway: FakeGateway, path: Path, ask: Callable[[Client], Any]) -> Any:
    """Check that a replay gives the same result as the recorded gateway, and return it."""
    with gateway, client_of(gateway) as client, record(client, path):
        first = ask(client)
    with FakeGateway.replay(path) as replayed, client_of(replayed) as client:
        again = ask(client)
        # A client that gave up may have done so before the gateway read its request.
        assert wait_until(lambda: not replayed.pending)
        replayed.assert_done()
    assert again == first
    return first


class TestFidelity:
    """Replays are equal to what was recorded."""

    @pytest.mark.parametrize("transcript", sorted(DATA.glob("*.sse")), ids=lambda path: path.stem)
    def test_what_a_real_gateway_sent(self, transcript: Path, path: Path) -> None:
        """Each turn of a real gateway has the same events and the same end, complete or cut."""
        frames = [frame + b"\n\n" for frame in transcript.read_bytes().split(b"\n\n")]
        frames[-1] = frames[-1].removesuffix(b"\n\n")
        ends = () if transcript.read_bytes().endswith(b"data: [DONE]\n\n") else HangUp(10_000)
        events, end = same_again(FakeGateway().raw(frames, fault=ends), path, turn)
        assert events
        assert (end[0] is GatewayConnectionError) if ends else (end["role"] == "assistant")

    @pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call["status"] > 299])
    def test_how_a_real_gateway_refused(self, name: str, path: Path) -> None:
        """The error has the same type and text."""
        call = CALLS[name]
        gateway = FakeGateway()
        gateway.raw(
            call["body"].encode(), status=call["status"], headers=call["headers"], framing="length"
        )
        _, end = same_again(gateway, path, turn)
        assert issubclass(end[0], AuthGatewayError)

    def test_the_gateways_pages(self, path: Path) -> None:
        """Each page is the recorded one."""

        def pages(client: Client) -> list[Any]:
            asked = client.health, client.models, client.usage, client.check_credentials
            return [page() for page in asked]

        health, models, _, _ = same_again(FakeGateway(models=["a/b"], version="7"), path, pages)
        assert health.version == "7"
        assert [model.id for model in models] == ["a/b"]

    @pytest.mark.parametrize(
        ("script", "failure"),
        [
            (Raw(b"", status=204, framing="length"), AuthGatewayError),
            (Raw(b"<h1>Hello</h1>", headers={"Content-Type": "text/html"}), PiNativeError),
            (Raw(b": \xff\xfe", framing="close"), PiNativeError),
            (Raw(b"data: {\n\n", framing="length"), PiNativeError),
            (Raw(b": 1\n\n", fault=HangUp(1, mid_event=True)), GatewayConnectionError),
            (
                Raw([b": 1\n\n", b": 2\n\n"], fault=HangUp(1), framing="length"),
                GatewayConnectionError,
            ),
            (Raw(b": 1\n\n", fault=HangUp(0, reset=True)), GatewayConnectionError),
            (Raw(b": 1\n\n", fault=HangUp(None)), GatewayConnectionError),
            (Raw(b": 1\n\n", status=302, headers={"Location": "/x"}), AuthGatewayError),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_turns_that_failed(self, script: Raw, failure: type[Exception], path: Path) -> None:
        """A failed turn fails again with the same type."""
        scripted = FakeGateway().add(script)
        with scripted as gateway, client_of(gateway) as client, record(client, path):
            _, first = turn(client)
        with FakeGateway.replay(path) as gateway, client_of(gateway) as client:
            _, again = turn(client)
        assert first[0] is again[0]
        assert issubclass(again[0], failure)

    @pytest.mark.parametrize("after", [None, 0, 3])
    def test_where_the_client_had_left_the_gateway_stalls(
        self, after: int | None, path: Path
    ) -> None:
        """A timeout passes again after the same events."""

        def ask(client: Client) -> Turn:
            limits = {"stream_first_event_timeout_ms": 600, "stream_idle_timeout_ms": 600}
            return turn(client, **limits)

        gateway = FakeGateway().reply("one two", fault=Stall(after))
        events, end = same_again(gateway, path, ask)
        assert (len(events), end[0]) == (after or 0, StreamTimeoutError)

    def test_a_refused_attempt_and_the_one_that_went_well(self, path: Path) -> None:
        """A retried turn is retried again, also after a failed connection."""

        def ask(client: Client) -> Turn:
            return turn(client, max_retries=2)

        gateway = FakeGateway().reply("lost", fault=HangUp(after=None)).reply("found")
        _, message = same_again(gateway, path, ask)
        assert message["content"][0]["text"] == "found"

    def test_a_recording_of_a_replay_is_that_recording(self, path: Path, tmp_path: Path) -> None:
        """Only times and the pieces of the body differ."""
        same_again(FakeGateway().reply("one two three"), path, turn)
        second = tmp_path / "again.jsonl"
        with FakeGateway.replay(path) as gateway, client_of(gateway) as client:
            turn_recorded(client, second)
        first, again = load(path)[0], load(second)[0]
        assert again.headers == first.headers
        assert b"".join(data for _, data in again.pieces) == b"".join(d for _, d in first.pieces)
        assert (again.method, again.path, again.status, again.end) == (
            (first.method, first.path, first.status, first.end)
        )


class TestMatching:
    """Requests and their answers."""

    def test_each_model_gets_its_own_answers_in_order(self, path: Path) -> None:
        """The turns of several models can come in any order."""
        gateway = FakeGateway()
        gateway.default = None  # type: ignore[assignment]  # every turn is scripted
        gateway.reply("a1").reply("b1").reply("a2")
        with gateway, client_of(gateway) as client, record(client, path):
            for model in ("x/a", "x/b", "x/a"):
                client.complete(model, "Hi")
        with FakeGateway.replay(path) as gateway, client_of(gateway) as client:
            said = [client.complete(model, "Hi").text for model in ("x/b", "x/a", "x/a")]
        assert said == ["b1", "a1", "a2"]

    def test_a_turn_without_an_answer_is_refused(self, path: Path) -> None:
        """The error names the model, and is not retried."""
        with FakeGateway() as gateway, client_of(gateway) as client, record(client, path):
            client.complete(MODEL, "Hi")
        with FakeGateway.replay(path) as gateway, client_of(gateway, max_retries=2) as client:
            client.complete(MODEL, "Hi")
            with pytest.raises(InvalidRequestError, match=f"no answer left for a turn of {MODEL}"):
                client.complete(MODEL, "Hi")
            assert len(gateway.requests) == 2

    def test_what_was_not_asked_for_is_named(self, path: Path) -> None:
        """`assert_done` names the answers that are left."""
        with FakeGateway() as gateway, client_of(gateway) as client, record(client, path):
            client.complete(MODEL, "Hi")
            client.health()
        with FakeGateway.replay(path) as gateway, client_of(gateway) as client:
            client.health()
            with pytest.raises(AssertionError, match=f"POST /v1/pi/stream {MODEL}: 200"):
                gateway.assert_done()

    def test_an_address_with_a_path_does_not_matter(self, path: Path) -> None:
        """The recording has the paths of the gateway, without that of a proxy."""
        with FakeGateway() as gateway:
            gateway.add(gateway.default, path="/deep/down/v1/pi/stream")
            gateway.add(gateway.default, path="/deep/down/healthz")
            address = gateway.url + "/deep/down"
            with Client(address, gateway.api_key) as client, record(client, path):
                client.complete(MODEL, "Hi")
        assert [exchange.path for exchange in load(path)] == ["/v1/pi/stream"]

    def test_settings_are_those_of_any_fake_gateway(self, path: Path) -> None:
        """A replay can have another key."""
        with FakeGateway() as gateway, client_of(gateway) as client, record(client, path):
            client.complete(MODEL, "Hi")
        replayed = FakeGateway.replay(path, api_key="another")
        with replayed as gateway, client_of(gateway) as client:
            assert client.complete(MODEL, "Hi").text
            assert gateway.last_request.headers["Authorization"] == "Bearer another"


class TestPace:
    """Times of a replay."""

    def slow_turn(self, path: Path) -> None:
        """Record a turn of seven pieces, 20 ms apart."""
        gateway = FakeGateway().reply("one two three", fault=Slow(0.02))
        with gateway, client_of(gateway) as client, record(client, path):
            client.complete(MODEL, "Hi")

    @pytest.mark.parametrize("speed", [1, 2, 0.5])
    def test_the_recorded_times_are_kept(self, path: Path, speed: float) -> None:
        """No piece comes before its recorded time divided by the speed."""
        self.slow_turn(path)
        [exchange] = load(path)
        with FakeGateway.replay(path, speed=speed) as gateway, client_of(gateway) as client:
            began = time.monotonic()
            arrived = {event.type: time.monotonic() - began for event in client.stream(MODEL, "Hi")}
        due = {
            kind: at / speed
            for at, data in exchange.pieces
            for kind in ("text_start", "text_end", "done")
            if f'"type":"{kind}"'.encode() in data
        }
        assert due.keys() == {"text_start", "text_end", "done"}
        assert all(arrived[kind] >= due[kind] for kind in due)

    def test_without_a_speed_there_are_no_delays(self, path: Path) -> None:
        """A recording of several hours is replayed at once."""
        self.slow_turn(path)
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        for number, line in enumerate(lines[2:], 1):
            line["at"] = number * 3600.0
        path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        with FakeGateway.replay(path) as gateway, client_of(gateway, total_timeout=5) as client:
            assert client.complete(MODEL, "Hi").text == "one two three"

    def test_a_client_that_leaves_ends_the_wait(self, path: Path) -> None:
        """A replay with an hour left ends when the client closes."""
        self.slow_turn(path)
        text = path.read_text("utf-8").splitlines(keepends=True)
        last = json.loads(text[-2])
        text[-2] = json.dumps({**last, "at": 3600.0}) + "\n"
        path.write_text("".join(text), "utf-8")
        with FakeGateway.replay(path, speed=1) as gateway, client_of(gateway) as client:
            with client.stream(MODEL, "Hi") as stream:
                next(stream)
            assert gateway.last_request.client_gone.wait(5)

    @pytest.mark.parametrize("speed", [0, -1, float("nan")])
    def test_a_speed_is_above_zero(self, path: Path, speed: float) -> None:
        """Any other speed is a ValueError."""
        self.slow_turn(path)
        with pytest.raises(ValueError, match="speed must be more than 0"):
            FakeGateway.replay(path, speed=speed)
