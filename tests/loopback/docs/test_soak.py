"""A soak of a few seconds finds no problem, and a soak with a fault reports it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from benchmarks import soak, soak_turns
from benchmarks.soak_turns import KINDS, NO_OUTCOME, Kind, Ledger
from pi_native import Client

ALL_WELL = Kind("whole", KINDS[0].play, ("stop",))


@pytest.mark.slow
def test_turns_of_all_kinds_leave_nothing_behind() -> None:
    """After some seconds of turns of all kinds, no promise is broken and nothing is left."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--seconds", "4", "--threads", "16"],
        cwd=soak.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Promises broken: none." in done.stdout
    assert "| whole | " in done.stdout
    assert "| threads | " in done.stdout


needs_proc = pytest.mark.skipif(not soak._DESCRIPTORS.exists(), reason="needs /proc")


def problems(kind: Kind) -> list[str]:
    """Return the problems of a short soak with turns of this kind."""
    return soak.soak(0.3, 2, (kind,)).ledger.problems


@pytest.mark.slow
def test_a_short_soak_of_good_turns_has_no_problems() -> None:
    """Good turns give no problem, so the soaks below fail for one reason only."""
    assert problems(ALL_WELL) == []


@pytest.mark.slow
def test_an_ending_of_the_wrong_kind_is_a_broken_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the kind and the ending of the turn, and its exit code is 1."""
    wrong = Kind("whole", ALL_WELL.play, ("length",))
    monkeypatch.setattr(soak, "KINDS", (wrong,))
    assert soak.main(["--seconds", "0.3", "--threads", "2"]) == 1
    assert "a turn that is 'whole' ended as 'stop'" in capsys.readouterr().out


@pytest.mark.slow
def test_a_turn_without_an_outcome_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that does not arrive in time is reported."""
    monkeypatch.setattr(soak_turns, "LONGEST", 0.05)

    def stuck(client: Client, prompt: str) -> tuple[str, int]:
        with client.stream("soak/stall", prompt) as stream:
            return soak_turns._outcome(stream)

    found = problems(Kind("stuck", stuck, ("stop",)))
    assert f"a turn that is 'stuck' ended as {NO_OUTCOME!r}" in found


def test_an_unexpected_exception_is_a_broken_promise() -> None:
    """An exception that is not an ending of a turn is reported, and the turn is counted."""

    def broken(_client: Client, _prompt: str) -> tuple[str, int]:
        raise KeyError("mine")

    ledger = Ledger()
    with Client("http://127.0.0.1:1", "key") as client:
        Kind("broken", broken, ("stop",)).run(client, "hi", ledger)
    assert ledger.problems[0] == "a turn that is 'broken': KeyError('mine')"
    assert ledger.turns == 1


@pytest.mark.slow
@needs_proc
def test_a_socket_that_stays_open_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that was not there before is reported."""
    monkeypatch.setattr(soak, "_SETTLE_SECONDS", 0.1)
    kept: list[socket.socket] = []

    def leaks(client: Client, prompt: str) -> tuple[str, int]:
        kept.append(socket.socket())
        return ALL_WELL.play(client, prompt)

    found = problems(Kind("leaky", leaks, ("stop",)))
    for leaked in kept:
        leaked.close()
    assert any("descriptors instead of" in problem for problem in found)


@pytest.mark.slow
@needs_proc
def test_memory_that_grows_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory above the limit at the end is reported, with the amount."""
    monkeypatch.setattr(soak, "MAX_GROWTH_MIB", -1000.0)
    assert any(problem.startswith("memory grew by") for problem in problems(ALL_WELL))
