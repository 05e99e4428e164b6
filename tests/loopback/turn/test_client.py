"""A client sends its attribution, finds its settings, and applies them to its turns."""

from __future__ import annotations

import contextlib
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AuthenticationError,
    Client,
    ConfigurationError,
    IncompleteStreamError,
    InvalidRequestError,
    Model,
    ProviderError,
    StreamTimeoutError,
)
from pi_native.testing import FakeGateway, Raw, Stall

from ...conftest import wait_until
from ..calls import KEY
from ..frames import DELTA, FINISHED, frame
from ..peer import CHUNKED, Connection, Peer, chunk

LIMIT = 0.25  # seconds


# Attribution and settings.


def test_attribution_is_sent(gateway: FakeGateway) -> None:
    """The three headers are sent if they are given, in the characters that a header allows."""
    with Client(
        gateway.url, KEY, app="my-app", install_id="0c4a2a52", hostname="büro-😀\n"
    ) as client:
        client.complete("x/y", "hi")
    headers = gateway.requests[0].headers
    assert headers["x-omp-app"] == "my-app"
    assert headers["x-omp-install-id"] == "0c4a2a52"
    assert headers["x-omp-hostname"] == "b?ro-??"


def test_attribution_is_the_app_alone(gateway: FakeGateway, client: Client) -> None:
    """By default, a client sends its app's name, and neither host nor installation."""
    client.complete("x/y", "hi")
    headers = gateway.requests[0].headers
    names = [name.lower() for name in headers if name.lower().startswith("x-omp-")]
    assert names == ["x-omp-app"]
    assert headers["x-omp-app"] == "pi-native-python"


def test_stronger_headers_win(gateway: FakeGateway) -> None:
    """The client's headers override the attribution, and the model's override both."""
    headers = {"X-OMP-App": "client", "x-a": "client", "x-b": "client"}
    model = Model("y", "x", headers={"X-B": "model"})
    with Client(gateway.url, KEY, headers=headers) as client:
        client.complete(model, "hi")
        client.complete("x/y", "hi")
    first, second = (request.headers for request in gateway.requests)
    for name, value in (("x-omp-app", "client"), ("x-a", "client"), ("x-b", "model")):
        assert first.get_all(name) == [value]
    assert second.get_all("x-b") == ["client"]
    assert model == Model("y", "x", headers={"X-B": "model"})


def test_a_models_authorization_is_stronger_than_the_clients_key() -> None:
    """A model with its own key is called with that key."""
    with FakeGateway("other") as gateway, Client(gateway.url, KEY) as client:
        model = Model("y", "x", headers={"authorization": "Bearer other"})
        assert client.complete(model, "hi").text
        assert gateway.requests[0].headers.get_all("authorization") == ["Bearer other"]


def test_address_and_key_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    """Without arguments, the two environment variables apply."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url + "/")
    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)
    with Client() as client:
        assert client.base_url == gateway.url
        assert client.complete("x/y", "hi").text


def test_arguments_are_stronger_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    """Arguments override the environment."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
    with Client(gateway.url, KEY) as client:
        assert client.complete("x/y", "hi").text


def test_the_default_address_is_the_local_gateway() -> None:
    """Without any setting, the address is 127.0.0.1:4000."""
    with Client() as client:
        assert client.base_url == "http://127.0.0.1:4000"


def test_the_token_file_is_for_a_local_gateway(gateway: FakeGateway, tmp_path: Path) -> None:
    """The local gateway's token is read from its file, without the line end."""
    (tmp_path / ".omp").mkdir()
    (tmp_path / ".omp" / "auth-gateway.token").write_text(f"{KEY}\n")
    with Client(gateway.url) as client:
        assert client.complete("x/y", "hi").text


def test_the_token_file_is_for_no_other_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway on another machine never gets the local gateway's token."""
    (tmp_path / ".omp").mkdir()
    (tmp_path / ".omp" / "auth-gateway.token").write_text(KEY)
    requests: list[bytes] = []

    def answer(connection: Connection) -> None:
        requests.append(connection.read_request())
        connection.send(CHUNKED, chunk(frame(FINISHED)), b"0\r\n\r\n")

    with Peer(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client("http://gateway.invalid:4000") as client:
            assert client.complete("x/y", "hi").text == "Hello"
    assert len(requests) == 1
    assert b"authorization" not in requests[0].lower()


# Turns.


def test_options_are_stronger_than_the_clients(gateway: FakeGateway) -> None:
    """The client's timeouts are sent plus 5 s; a protocol option is sent unchanged."""
    with Client(gateway.url, KEY, first_event_timeout=60, idle_timeout=2.5) as client:
        client.complete("x/y", "hi", temperature=0.5)
        client.complete("x/y", "hi", stream_idle_timeout_ms=9_000, extra={"newer": 1})
    assert [request.options for request in gateway.requests] == [
        {
            "temperature": 0.5,
            "streamFirstEventTimeoutMs": 65_000,
            "streamIdleTimeoutMs": 7_500,
        },
        {"streamFirstEventTimeoutMs": 60_000, "streamIdleTimeoutMs": 9_000, "newer": 1},
    ]


def test_a_turn_may_have_its_own_key(client: Client) -> None:
    """An `api_key` of the turn replaces the client's."""
    with FakeGateway("other") as gateway, Client(gateway.url, KEY) as client_of_other:
        with pytest.raises(AuthenticationError):
            client_of_other.complete("x/y", "hi")
        assert client_of_other.complete("x/y", "hi", api_key="other").text
    assert client.complete("x/y", "hi").text


@pytest.mark.parametrize(
    ("name", "phase"),
    [("first_event_timeout", "first_event"), ("idle_timeout", "idle"), ("total_timeout", "total")],
)
def test_the_clients_times_are_seconds(gateway: FakeGateway, name: str, phase: str) -> None:
    """Each timeout ends a turn that stalls, and its error gives seconds."""
    gateway.reply("one two", fault=Stall(after=0 if phase == "first_event" else 3))
    limits: dict[str, Any] = {name: LIMIT}
    with Client(gateway.url, KEY, max_retries=0, **limits) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.complete("x/y", "hi")
        assert (caught.value.phase, caught.value.limit) == (phase, LIMIT)
        assert gateway.requests[0].client_gone.wait(2)


@pytest.mark.parametrize("reason", ["error", "aborted"])
def test_complete_raises_for_a_failed_turn(
    gateway: FakeGateway, client: Client, reason: str
) -> None:
    """The error has the provider's message, and the partial content."""
    gateway.reply("partly", error_message="overloaded", stop_reason=reason, error_status=400)
    with pytest.raises(ProviderError, match="overloaded") as caught:
        client.complete("x/y", "hi")
    message = caught.value.message
    assert isinstance(message, AssistantMessage)
    assert (message.text, message.stop_reason, message.error_status) == ("partly", reason, 400)
    assert caught.value.partial is message


def test_complete_raises_what_the_stream_would(gateway: FakeGateway, client: Client) -> None:
    """An error response and an invalid setting raise the same errors as a stream."""
    gateway.error(404, "Unknown model: x/y")
    with pytest.raises(InvalidRequestError, match="Unknown model"):
        client.complete("x/y", "hi")
    with pytest.raises(ConfigurationError):
        client.complete("x/y", "hi", temperature=math.nan)


@pytest.mark.parametrize("done", [True, False])
def test_an_incomplete_answer_is_an_error(gateway: FakeGateway, client: Client, done: bool) -> None:
    """By default, an end without a terminal event is an error with the partial content."""
    gateway.events([DELTA], done=done)
    stream = client.stream("x/y", "hi")
    assert next(stream).type == "text_delta"
    with pytest.raises(IncompleteStreamError) as caught:
        next(stream)
    assert stream.truncated
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"


def test_an_incomplete_answer_may_be_none(gateway: FakeGateway) -> None:
    """A client or a turn can accept it as a "done" event without content."""
    gateway.events([DELTA]).events([DELTA]).events([DELTA])
    with Client(gateway.url, KEY, on_incomplete="done") as client:
        assert client.complete("x/y", "hi").content == []
        with pytest.raises(IncompleteStreamError):
            client.complete("x/y", "hi", on_incomplete="error")
    with Client(gateway.url, KEY) as client:
        assert client.complete("x/y", "hi", on_incomplete="done").stop_reason == "stop"


def test_leaving_a_with_block_closes_the_connections(gateway: FakeGateway) -> None:
    """After a `with` block no connection is open, also if the block raises."""
    with Client(gateway.url, KEY) as client:
        client.complete("x/y", "hi")
        assert gateway.open_connections == 1
    assert wait_until(lambda: gateway.open_connections == 0)
    with contextlib.suppress(KeyError), Client(gateway.url, KEY) as client:
        client.complete("x/y", "hi")
        raise KeyError
    assert wait_until(lambda: gateway.open_connections == 0)


@pytest.mark.slow
def test_one_client_serves_many_threads(gateway: FakeGateway, client: Client) -> None:
    """64 threads with turns and gateway calls each get their own responses."""
    gateway.default = lambda request: Raw(
        [
            frame(
                {
                    **FINISHED,
                    "message": {
                        "role": "assistant",
                        "content": [
                            {"type": "text", "text": request.context["messages"][0]["content"]}
                        ],
                    },
                }
            )
        ]
    )
    together = threading.Barrier(64)
    wrong: list[object] = []

    def converse(number: int) -> None:
        together.wait(20)
        for turn in range(3):
            prompt = f"{number}-{turn}"
            try:
                if turn == 1:
                    assert client.health().ok
                said = client.complete("x/y", prompt).text
            except Exception as exc:  # noqa: BLE001 - checked below
                said = repr(exc)
            if said != prompt:
                wrong.append((prompt, said))

    conversations = [threading.Thread(target=converse, args=(number,)) for number in range(64)]
    for thread in conversations:
        thread.start()
    for thread in conversations:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert len(gateway.requests) == 64 * 4
    assert gateway.connections < 64 * 4, "no connection was ever used twice"
