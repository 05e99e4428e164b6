"""The pytest fixtures of the package.

This module is outside of the package because pytest loads every installed plugin when it starts. A
project that does not use the fixtures must not wait for the import of the package, and must not see
its import lines as covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pi_native.testing import FakeGateway

__all__ = ["pi_native_env", "pi_native_gateway"]


@pytest.fixture
def pi_native_gateway() -> Iterator[FakeGateway]:
    """Start a fake gateway of `pi_native.testing`, and close it at the end of the test.

        >>> from pi_native import Client
        >>> def test_a_greeting(pi_native_gateway):
        ...     pi_native_gateway.reply("Hello!")
        ...     client = Client(pi_native_gateway.url, pi_native_gateway.api_key)
        ...     assert client.complete("any/model", "Hi").text == "Hello!"

    Each test has its own. With `pi_native_gateway.strict = True` the test fails if a turn was not
    scripted, or if answers are left at its end.
    """
    from pi_native.testing import FakeGateway

    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def pi_native_env(pi_native_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """Put URL and key of the fake gateway into the environment, and turn retries off.

        >>> from pi_native import Client
        >>> def test_code_that_makes_its_own_client(pi_native_env):
        ...     pi_native_env.reply("Hello!")
        ...     assert Client().complete("any/model", "Hi").text == "Hello!"

    The fixture is the gateway of `pi_native_gateway`. A `Client` with an explicit `max_retries`
    does retry.
    """
    from pi_native import Client

    monkeypatch.setenv("PI_NATIVE_BASE_URL", pi_native_gateway.url)
    monkeypatch.setenv("PI_NATIVE_API_KEY", str(pi_native_gateway.api_key))
    # No variable of the environment sets it.
    defaults = Client.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "max_retries", 0)
    return pi_native_gateway
