"""Fixtures of the real gateway.

Without the node modules the tests are skipped, or fail if PI_NATIVE_REQUIRE_GATEWAY=1 is set.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from launch import Gateway, GatewayUnavailableError, running_gateway

from pi_native import Client, Model, StreamOptions

PATIENCE_SECONDS = 30.0


class Upstream:
    """The requests that the gateway and the fake provider received since the start of the test."""

    def __init__(self, control: str, session: requests.Session) -> None:
        self._url = f"{control}/upstream"
        self._session = session
        self._session.delete(self._url, timeout=PATIENCE_SECONDS).raise_for_status()

    def seen(self, after: int | None = None, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Return the record; given a version, wait for another version."""
        answer = self._session.get(self._url, params={"after": after}, timeout=seconds)
        answer.raise_for_status()
        seen: dict[str, Any] = answer.json()
        return seen

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls of the gateway to the fake provider."""
        calls: list[dict[str, Any]] = self.seen()["upstream"]
        return calls

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests to the gateway."""
        requests: list[dict[str, Any]] = self.seen()["gateway"]
        return requests

    def wait_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the record as soon as `holds` is true of it; fail after PATIENCE_SECONDS."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen = self.seen()
        while not holds(seen):
            left = max(0.001, deadline - time.monotonic())
            try:
                seen = self.seen(seen["version"], left)
            except requests.Timeout:
                pytest.fail(f"not within {PATIENCE_SECONDS:.0f} s; the calls: {seen['upstream']}")
        return seen

    def wait_for_calls(self, count: int, state: str) -> None:
        """Wait until the fake provider has had `count` calls, all of them in `state`."""
        self.wait_until(
            lambda seen: [call["state"] for call in seen["upstream"]] == [state] * count
        )


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """Run one real gateway for all tests."""
    try:
        with running_gateway() as gateway:
            yield gateway
    except GatewayUnavailableError as exc:
        if os.environ.get("PI_NATIVE_REQUIRE_GATEWAY") == "1":
            pytest.fail(str(exc))
        pytest.skip(str(exc))


@pytest.fixture
def upstream(gateway: Gateway) -> Iterator[Upstream]:
    """Return an empty record of requests."""
    with requests.Session() as session:
        session.trust_env = False
        yield Upstream(gateway.control, session)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    """Return a client of the gateway that retries nothing."""
    with Client(gateway.url, gateway.token, max_retries=0) as client:
        yield client


@pytest.fixture
def model(gateway: Gateway) -> Callable[[str], Model]:
    """Return a function from a name to a model of the gateway, for the low-level call."""

    def model(name: str) -> Model:
        provider, _, model_id = name.partition("/")
        return Model(model_id, provider, base_url=gateway.url)

    return model


@pytest.fixture
def options(gateway: Gateway) -> Callable[..., StreamOptions]:
    """Return a function that makes options for the low-level call, with the key of the gateway."""

    def options(**given: Any) -> StreamOptions:
        return StreamOptions(**{"api_key": gateway.token, **given})

    return options


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("PI_STREAM_", "PI_OPENAI_STREAM_", "PI_NATIVE_BASE", "PI_NATIVE_API")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    """Fail a test that leaves a worker thread."""
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith("pi-native-"):
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} still runs"
