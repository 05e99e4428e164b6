"""A recording of the real gateway, replayed by the fake one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launch import Gateway

from pi_native import AuthGatewayError, Client, to_wire
from pi_native.testing import FakeGateway, record

pytestmark = pytest.mark.gateway

MODELS = ["fake/tokens", "fake/thinking", "fake/tools", "fake/mixed", "mock/error", "fake/die"]


def turns(client: Client) -> list[Any]:
    """Return the results of a turn with each model, of the other calls, and of an error."""
    seen: list[Any] = []
    for model in MODELS:
        with client.stream(model, "The weather in Oslo and Rome.") as stream:
            seen += [to_wire(event) for event in stream]
            seen.append(to_wire(stream.result()))
    seen += [client.models(), client.usage(), client.check_credentials(), client.health()]
    with pytest.raises(AuthGatewayError) as refused:
        client.complete("no/such", "Hi")
    return [*seen, str(refused.value), refused.value.status, refused.value.body]


def test_a_recording_of_the_real_gateway_is_what_it_was(
    gateway: Gateway, client: Client, tmp_path: Path
) -> None:
    """A replay gives the same events, messages and errors, and the file has no token."""
    path = tmp_path / "real.jsonl"
    with record(client, path):
        original = turns(client)
    with FakeGateway.replay(path) as replayed:
        with Client(replayed.url, replayed.api_key, max_retries=0) as other:
            assert turns(other) == original
        replayed.assert_done()
    assert gateway.token not in path.read_text("utf-8")


def test_an_aborted_turn_of_the_real_gateway_is_aborted_again(
    client: Client, tmp_path: Path
) -> None:
    """The replay of a cancelled endless turn is endless until it is cancelled."""
    path = tmp_path / "real.jsonl"

    def leave(client: Client) -> str:
        with client.stream("fake/forever", "Hi") as stream:
            for event in stream:
                if event.type == "text_delta":
                    stream.abort()
            return str(stream.result().stop_reason)

    with record(client, path):
        assert leave(client) == "aborted"
    with FakeGateway.replay(path) as replayed:
        with Client(replayed.url, replayed.api_key, max_retries=0) as other:
            assert leave(other) == "aborted"
        assert replayed.last_request.client_gone.wait(5)
