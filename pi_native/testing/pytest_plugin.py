"""The pytest fixture that comes with the package."""

from collections.abc import Iterator

import pytest

from . import FakeGateway

__all__ = ["pi_native_gateway"]


@pytest.fixture
def pi_native_gateway() -> Iterator[FakeGateway]:
    """A fake gateway, started, that is closed when the test ends."""
    with FakeGateway() as gateway:
        yield gateway
