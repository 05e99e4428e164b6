"""`~/.netrc` never replaces the key or the session's own auth."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from pi_native import (
    Client,
    Context,
    Model,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway

from ..calls import KEY, Turn


@pytest.fixture
def netrc(tmp_path: Path) -> None:
    """Write a netrc with a password for every host of these tests."""
    hosts = ("127.0.0.1", "localhost", "gateway.invalid")
    lines = [f"machine {host} login somebody password secret" for host in hosts]
    (tmp_path / ".netrc").write_text("\n".join([*lines, "default login any password secret", ""]))
    (tmp_path / ".netrc").chmod(0o600)


@pytest.mark.usefixtures("netrc")
def test_netrc_is_there_for_others(session: requests.Session) -> None:
    """Plain requests would use this netrc, so that the tests below test something."""
    with FakeGateway(None) as gateway:
        session.get(gateway.url + "/healthz")
        assert (gateway.requests[0].headers["authorization"] or "").startswith("Basic ")


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_the_bearer(
    turn: Turn,
) -> None:
    """A password for the gateway's host in ~/.netrc is not what is sent."""
    with FakeGateway(KEY) as gateway:
        turn(gateway.url).result()
        sent = [request.headers.get_all("authorization") for request in gateway.requests]
    assert sent == [[f"Bearer {KEY}"]]


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_a_models_authorization() -> None:
    """A model's own Authorization is not replaced either."""
    with FakeGateway(None) as gateway:
        model = Model("y", "x", base_url=gateway.url, headers={"Authorization": "Own"})
        stream_pi_native(model, Context([UserMessage("hi")])).result()
        assert gateway.requests[0].headers.get_all("authorization") == ["Own"]


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_stand_in_for_a_missing_key() -> None:
    """Without a key nothing is sent, for turns and for the other pages."""
    with FakeGateway(None) as gateway, Client(gateway.url) as client:
        client.complete("x/y", "hi")
        client.models()
        stream_pi_native(
            Model("y", "x", base_url=gateway.url), Context([UserMessage("hi")])
        ).result()
        assert [request.headers["authorization"] for request in gateway.requests] == [None] * 3


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_the_bearer_of_the_other_pages() -> None:
    """Models, health, usage and credentials are asked for with the key too."""
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY) as client:
        client.models()
        client.usage()
        client.check_credentials()
        client.health()
        sent = {request.headers["authorization"] for request in gateway.requests}
    assert sent == {f"Bearer {KEY}"}
