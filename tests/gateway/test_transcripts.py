"""The real gateway still sends the transcripts in tests/data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from launch import Gateway
from record import CALLS, DATA, TURNS, call, turn

pytestmark = pytest.mark.gateway

# These differ between recordings: the time, and how far a snapshot is ahead.
VOLATILE = {"timestamp", "duration", "ttft", "partial", "generatedAt", "fetchedAt"}

# How much is read before a connection breaks differs, too.
UNREPEATABLE = {"error-died", "hung-up"}


@pytest.fixture
def session(gateway: Gateway) -> Iterator[requests.Session]:
    """Return a session with the token of the gateway."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {gateway.token}"
        yield session


def lasting(value: Any) -> Any:
    """Return the value without the parts that differ between recordings."""
    if isinstance(value, dict):
        return {name: lasting(inner) for name, inner in value.items() if name not in VOLATILE}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def events(body: bytes) -> list[Any]:
    """Return the events of a body, without the parts that differ between recordings."""
    frames = body.decode().split("\n\n")
    assert frames.pop() == ""
    assert frames.pop() == "data: [DONE]"
    return [lasting(json.loads(frame.removeprefix("data: "))) for frame in frames]


@pytest.mark.parametrize("name", sorted(TURNS.keys() - UNREPEATABLE))
def test_a_turn_is_what_was_recorded(gateway, session, name):
    """A turn has the events of its transcript, except for times and snapshots."""
    recorded = (DATA / f"{name}.sse").read_bytes()
    assert events(turn(gateway, session, *TURNS[name])) == events(recorded)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_what_was_recorded(gateway, session, name):
    """A call has the recorded status and body."""
    recorded = json.loads((DATA / "calls.json").read_text(encoding="utf-8"))[name]
    answer = call(gateway, session, *CALLS[name])
    assert answer["status"] == recorded["status"]
    assert lasting(json.loads(answer["body"])) == lasting(json.loads(recorded["body"]))


def test_there_is_nothing_else(gateway):  # noqa: ARG001  # where there is none, nothing is checked
    """record.py defines the turn of each transcript."""
    assert {path.stem for path in DATA.glob("*.sse")} == TURNS.keys()
