"""The pytest fixture that comes with the package.

It stands beside the package, not in it: pytest loads every installed plugin whenever it starts, and
a project that does not use this one must not wait for the package to be imported. Nor would the
lines that run on import count as covered in one that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pi_native.testing import FakeGateway

__all__ = ["pi_native_gateway"]


@pytest.fixture
def pi_native_gateway() -> Iterator[FakeGateway]:
    """A fake gateway of `pi_native.testing`, started, that is closed when the test ends.

        >>> from pi_native import Client
        >>> def test_a_greeting(pi_native_gateway):
        ...     pi_native_gateway.reply("Hello!")
        ...     client = Client(pi_native_gateway.url, pi_native_gateway.api_key)
        ...     assert client.complete("any/model", "Hi").text == "Hello!"

    Each test has one of its own.
    """
    from pi_native.testing import FakeGateway

    with FakeGateway() as gateway:
        yield gateway
