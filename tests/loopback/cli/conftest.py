"""Fixtures for the command line: a gateway in the environment, processes, a terminal in memory."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pi_native.testing import FakeGateway

from .commands import SECONDS, main

MODEL = "acme/models/large"

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gateway(named: Callable[..., FakeGateway]) -> Iterator[FakeGateway]:
    """Start a gateway whose URL, key and first model are in the environment."""
    with FakeGateway(models=[MODEL, "acme/small", "other/tiny"]) as gateway:
        yield named(gateway, MODEL)


@pytest.fixture(autouse=True)
def _no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process an empty stdin; a pipe that stays open would be read without end."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command line with its output in pipes; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        command = [sys.executable, "-m", "pi_native", *arguments]
        process = subprocess.Popen(command, text=True, encoding="utf-8", **{**streams, **more})
        processes.append(process)
        return process

    # A process that is started in the background may ignore Ctrl-C, and pass that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield start
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        with process:
            pass


@pytest.fixture(params=[pytest.param("process", marks=pytest.mark.slow), "call"])
def run(
    request: pytest.FixtureRequest,
    start: Start,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run the command line to its end; return its exit code, stdout and stderr."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = start(*arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=SECONDS)
        return process.returncode, out, err

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main(arguments)
        return code, *capsys.readouterr()

    return run if request.param == "process" else call


class Screen(io.StringIO):
    """A stand-in for a terminal that rich can draw on."""

    encoding = "utf-8"
    lost = False

    def isatty(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Store the text; fail when the terminal is gone."""
        if self.lost:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().write(text)

    def show(self, *arguments: str) -> int:
        """Run the command line with both streams on this terminal; return its exit code."""
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            return main(arguments)

    @property
    def text(self) -> str:
        """The written text without styles and cursor movements."""
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.getvalue()).replace("\r", "")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Return a terminal of 80 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    return Screen()


def when_stalled(gateway: FakeGateway, act: Callable[[], object]) -> threading.Thread:
    """Start a thread that acts once the next turn stalls."""

    def wait() -> None:
        assert gateway.wait_for_request(SECONDS).stalled.wait(SECONDS)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def press_ctrl_c() -> None:
    """Send the signal of Ctrl-C to the main thread."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)
