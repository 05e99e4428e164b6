"""A client that outlives the gateway, and its token."""

from __future__ import annotations

import pytest

from pi_native import AuthenticationError, Client, GatewayConnectionError

from .conftest import GATEWAY, Installed

pytestmark = pytest.mark.omp

MODEL = "anthropic/claude-sonnet-4-5"


def test_a_restart_and_a_new_token(installed: Installed) -> None:
    """One client serves turns before and after a restart, and after a new token.

    While no gateway runs, the error names the address. A key that was given stays as it is.
    """
    with Client() as client, Client(max_retries=0) as impatient:
        with installed.gateway():
            assert client.complete(MODEL, "one").text.strip() == "one"
            token = (installed.omp.home / ".omp" / "auth-gateway.token").read_text().strip()
        with pytest.raises(GatewayConnectionError, match=GATEWAY):
            impatient.complete(MODEL, "two")
        with installed.gateway():
            assert client.complete(MODEL, "three").text.strip() == "three"
        installed.omp.run("auth-gateway", "token", "--regenerate")
        with installed.gateway(), Client(api_key=token) as given:
            assert client.complete(MODEL, "four").text.strip() == "four"
            assert client.models()
            with pytest.raises(AuthenticationError, match="not this gateway's"):
                given.complete(MODEL, "five")
