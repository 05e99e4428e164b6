"""Fixtures of the tests of connections."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a turn when its connection is given back, however slow the machine is.

    After 40 ms of draining a turn is published all the same, and the next one opens a connection of
    its own. The tests here count connections; tests/loopback/turn tests the limits.
    """
    for name in ("_PUBLISH_SECONDS", "_DRAIN_SECONDS"):
        monkeypatch.setattr(f"pi_native._turn.attempt.{name}", 10.0)


@pytest.fixture
def patient_resend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a request again on a new connection, however long a slow machine took to send it."""
    monkeypatch.setattr("pi_native._http.adapter._RESEND_SECONDS", 10.0)
