"""Whether the transcripts in tests/data are still what the real gateway sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from launch import Gateway
from record import CALLS, DATA, TURNS, call, turn

pytestmark = pytest.mark.gateway

# What differs from one recording to the next: the time, and how far a snapshot is ahead.
VOLATILE = {"timestamp", "duration", "ttft", "partial", "generatedAt", "fetchedAt"}

# Of a connection that breaks, nobody can say how much was read before.
UNREPEATABLE = {"error-died", "hung-up"}


@pytest.fixture
def session(gateway: Gateway) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {gateway.token}"
        yield session


def lasting(value: Any) -> Any:
    """The value without what differs from one recording to the next."""
    if isinstance(value, dict):
        return {name: lasting(inner) for name, inner in value.items() if name not in VOLATILE}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def events(body: bytes) -> list[Any]:
    frames = body.decode().split("\n\n")
    assert frames.pop() == ""
    assert frames.pop() == "data: [DONE]"
    return [lasting(json.loads(frame.removeprefix("data: "))) for frame in frames]


@pytest.mark.parametrize("name", sorted(TURNS.keys() - UNREPEATABLE))
def test_a_turn_is_what_was_recorded(gateway, session, name):
    """A turn made now has the events of its transcript, up to times and snapshots."""
    recorded = (DATA / f"{name}.sse").read_bytes()
    assert events(turn(gateway, session, *TURNS[name])) == events(recorded)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_what_was_recorded(gateway, session, name):
    """A call made now has the status and the body that were recorded."""
    recorded = json.loads((DATA / "calls.json").read_text(encoding="utf-8"))[name]
    answer = call(gateway, session, *CALLS[name])
    assert answer["status"] == recorded["status"]
    assert lasting(json.loads(answer["body"])) == lasting(json.loads(recorded["body"]))


def test_there_is_nothing_else(gateway):  # noqa: ARG001  # where there is none, nothing is checked
    """Each transcript is of a turn that record.py knows."""
    assert {path.stem for path in DATA.glob("*.sse")} == TURNS.keys()
