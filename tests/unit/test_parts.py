"""The parts of a turn, which are few enough to be followed by a reader."""

from __future__ import annotations

import json

import pytest

from benchmarks.parts import LIMITS

from ..programs import run

pytestmark = pytest.mark.slow

_PROGRAM = """
import json
from benchmarks.parts import count
turns = [count() for _ in range(3)]
print(json.dumps({kind: min((sorted(t[kind]) for t in turns), key=len) for kind in turns[0]}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """Return the fewest parts of three turns in a process of their own.

    A slow machine adds parts, such as a repeated look at a socket, and removes none. So do other
    tests in the same process.
    """
    ended = run(_PROGRAM)
    assert not ended.returncode, ended.stderr
    parts: dict[str, list[str]] = json.loads(ended.stdout)
    return parts


@pytest.mark.parametrize("kind", ["event", "cancel"])
def test_few_files_are_run_through(kind: str, found: dict[str, list[str]]) -> None:
    """A delta in mid-stream, and a cancel, run through no more files than the limit says."""
    assert len(found[kind]) <= LIMITS[kind], found[kind]


def test_the_classes_of_a_turn_do_not_become_more(found: dict[str, list[str]]) -> None:
    """A turn creates instances of no more classes than the limit says."""
    assert len(found["classes"]) <= LIMITS["classes"], found["classes"]
