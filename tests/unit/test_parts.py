"""The parts of a turn, which are few enough to be followed by a reader."""

from __future__ import annotations

import pytest

from benchmarks.parts import LIMITS, count


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """Return the fewest parts of three turns over a loopback connection.

    A slow machine adds parts, such as a repeated look at a socket, and removes none.
    """
    turns = [count() for _ in range(3)]
    return {kind: min((turn[kind] for turn in turns), key=len) for kind in turns[0]}


@pytest.mark.parametrize("kind", ["event", "cancel"])
def test_few_files_are_run_through(kind: str, found: dict[str, set[str]]) -> None:
    """A delta in mid-stream, and a cancel, run through no more files than the limit says."""
    assert len(found[kind]) <= LIMITS[kind], sorted(found[kind])


def test_the_classes_of_a_turn_do_not_become_more(found: dict[str, set[str]]) -> None:
    """A turn creates instances of no more classes than the limit says."""
    assert len(found["classes"]) <= LIMITS["classes"], sorted(found["classes"])
