"""The calls about the gateway itself: health, models, usage, credentials."""

from __future__ import annotations

import pytest
from launch import running_gateway

from pi_native import AuthenticationError, Client

pytestmark = pytest.mark.gateway


def test_health(client):
    """`health()` returns that the gateway is up, and its version."""
    assert (client.health().ok, client.health().version) == (True, "18.2.11")


def test_health_needs_no_key(gateway):
    """`health()` works with a wrong key."""
    with Client(gateway.url, "a-wrong-token") as client:
        assert client.health().ok


def test_models(client):
    """`models()` lists each model by the name that a turn takes, with its abilities."""
    models = {model.id: model for model in client.models()}
    fake = models["fake/tokens"]
    assert (fake.owned_by, fake.api, fake.display_name) == (
        "fake",
        "openai-completions",
        "Fake tokens",
    )
    assert fake.input_modalities == ["text", "image"]
    assert (fake.context_length, fake.max_output_tokens) == (128_000, 4096)
    assert models["mock/text"].input_modalities == ["text"]


def test_every_model_listed_is_known(client):
    """A turn with a listed name succeeds."""
    names = [model.id for model in client.models()]
    assert len(names) == len(set(names)) > 20
    assert client.complete("mock/text", "hi").model in {name.partition("/")[2] for name in names}


def test_usage(client):
    """`usage()` returns the current limits of each provider."""
    usage = client.usage()
    (report,) = usage.reports
    assert report["provider"] == "fake"
    assert report["limits"][0]["amount"] == {
        "used": 25,
        "limit": 100,
        "usedFraction": 0.25,
        "unit": "percent",
    }
    assert usage.generated_at >= report["fetchedAt"]


def test_check_credentials(client):
    """`check_credentials()` distinguishes valid, invalid and unverifiable credentials."""
    works, broken, unknown = client.check_credentials().credentials
    assert (works.id, works.provider, works.ok, works.reason) == (1, "fake", True, None)
    assert works.email == "someone@example.com"
    assert (broken.ok, broken.reason) == (False, "the token was revoked")
    assert unknown.ok is None


@pytest.mark.parametrize("name", ["models", "usage", "check_credentials"])
def test_all_else_needs_the_key(gateway, name):
    """With a wrong key every other call raises an `AuthenticationError`."""
    with (
        Client(gateway.url, "a-wrong-token") as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        getattr(client, name)()
    assert caught.value.status == 401


def test_all_calls_share_one_connection(client, upstream):
    """These calls and turns use one connection."""
    client.health(), client.models(), client.usage(), client.complete("mock/text", "hi")
    assert len({request["port"] for request in upstream.requests}) == 1


def test_a_gateway_ends_with_its_starter(gateway):  # noqa: ARG001  # skips where there is none
    """Closing its stdin ends the gateway."""
    with running_gateway() as other:
        assert other.process.poll() is None
    assert other.process.returncode == 0
