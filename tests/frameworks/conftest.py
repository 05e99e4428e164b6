"""A fake gateway for the processes of the examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pi_native.testing import FakeGateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway."""
    with FakeGateway("gateway-token") as gateway:
        yield gateway
