"""Every error of a turn with a response has the id of the response."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pi_native import Client, GatewayConnectionError, PiNativeError
from pi_native.testing import FakeGateway, HangUp

ANSWERS: dict[str, Callable[[FakeGateway], object]] = {
    "provider": lambda gateway: gateway.reply("So far", error_message="it broke"),
    "protocol": lambda gateway: gateway.raw(b"data: no JSON\n\n"),
    "refused": lambda gateway: gateway.error(503, headers={"x-request-id": "r-1"}),
    "cut": lambda gateway: gateway.reply("One two three", fault=HangUp(after=3)),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_error_has_the_id_of_its_response(
    gateway: FakeGateway, client: Client, answer: Callable[[FakeGateway], object]
) -> None:
    """An error after the response headers has their request id."""
    answer(gateway)
    with client.stream("acme/one", "Why?") as stream, pytest.raises(PiNativeError) as caught:
        stream.result().raise_for_error()
    assert stream.response is not None
    assert caught.value.request_id == stream.response.request_id is not None


def test_an_error_without_a_response_has_no_id() -> None:
    """A refused connection has no request id."""
    with FakeGateway() as gateway:
        url = gateway.url
    with Client(url, max_retries=0) as client, pytest.raises(GatewayConnectionError) as caught:
        client.complete("acme/one", "Why?")
    assert caught.value.request_id is None
