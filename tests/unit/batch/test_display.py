"""The progress of a batch on the screen."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from pi_native import Progress
from pi_native._batch.display import make_display

STATES = [Progress(done=n, failed=n // 2, running=3, total=9, cost=n / 100) for n in range(1, 4)]


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def show(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    """Show the states on a stream as stderr; return what was written."""
    monkeypatch.setattr(sys, "stderr", stream)
    display = make_display(True)
    assert display is not None
    for state in STATES:
        display.update(state)
    display.close()
    return stream.getvalue()


@pytest.fixture
def without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the extra, as if it were not installed."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


@pytest.mark.usefixtures("without_tqdm")
def test_a_terminal_shows_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tqdm the line is written over, and ends with the last state."""
    text = show(monkeypatch, Terminal())
    assert text.startswith("1/9 done, 3 running, $0.0100")
    assert text.count("\n") == 1
    assert text.rstrip().endswith("3/9 done, 1 failed, 3 running, $0.0300")


@pytest.mark.usefixtures("without_tqdm")
def test_a_file_gets_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file gets a line now and then and at the end, without control characters."""
    lines = show(monkeypatch, io.StringIO()).splitlines()
    assert lines == [str(STATES[0]), str(STATES[-1])]


def test_tqdm_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tqdm the bar counts to the total and shows failures and cost; no thread is left."""
    pytest.importorskip("tqdm")
    before = threading.active_count()
    text = show(monkeypatch, Terminal())
    assert "3/9" in text
    assert "failed=1" in text
    assert "cost=$0.0300" in text
    assert threading.active_count() == before


def test_without_progress_there_is_no_display() -> None:
    """False shows nothing."""
    assert make_display(False) is None
