"""Run a function in a forked child: its result, or the reason why there is none."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import pytest

from .conftest import wait_until

LEFT = 30  # seconds that a child may take
_ORPHANED = 120  # seconds after which a child ends itself, in case its parent is killed

FORKS = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # coverage.py holds a lock while a thread calls a function of another file. A fork at that
    # moment copies the lock as held, and the child hangs in its first function: 3 of 15 forks
    # beside six streaming threads did.
    pytest.mark.no_cover,
]
"""The marks of a module whose tests fork."""

Test = TypeVar("Test", bound=Callable[..., Any])


def forks(test: Test) -> Test:
    """Add these marks to one test."""
    for mark in FORKS:
        test = mark(test)
    return test


def in_child(work: Callable[[], Any]) -> Any:
    """Return the result of `work` in a forked child, passed as JSON; kill a child that hangs."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as stacks:
        # Registered in the parent: a child may hang before it runs any code of the test.
        faulthandler.register(signal.SIGUSR1, stacks)
        trace = sys.gettrace()
        sys.settrace(None)  # a process of pytest-xdist is measured in spite of `no_cover`
        pid = os.fork()
        if pid == 0:
            threading.settrace(None)  # type: ignore[arg-type]
            _run_child(work, writing)
        sys.settrace(trace)
        faulthandler.unregister(signal.SIGUSR1)
        os.close(writing)
        hung = True
        try:
            answer = _read(reading)
            hung = answer is None
            assert answer is not None, f"the child hung: {_stacks_of(pid, stacks)}"
        finally:
            os.close(reading)
            if hung:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
    assert answer, f"the child died: {os.waitstatus_to_exitcode(status)}"
    result, error = json.loads(answer)
    assert error is None, f"in the child: {error}"
    return result


def _run_child(work: Callable[[], Any], writing: int) -> None:
    """Run `work`, write its result or traceback, and end the process without returning."""
    try:
        signal.alarm(_ORPHANED)
        try:
            answer = (work(), None)
        except BaseException:  # noqa: BLE001 - the parent reports it
            answer = (None, traceback.format_exc())
        os.write(writing, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _read(reading: int) -> bytes | None:
    """Return all that the child wrote until its end, or None if it does not end in time."""
    answer = b""
    while select.select([reading], [], [], LEFT)[0]:
        data = os.read(reading, 65536)
        if not data:
            return answer
        answer += data
    return None


def _stacks_of(pid: int, stacks: BinaryIO) -> str:
    """Return the stacks of a child's threads; faulthandler writes them even if all of them wait."""
    os.kill(pid, signal.SIGUSR1)
    # The last line is the oldest frame of the main thread, or dots after 100 frames.
    wait_until(lambda: _text_of(stacks).endswith(("in <module>\n", "  ...\n")))
    return _text_of(stacks)


def _text_of(file: BinaryIO) -> str:
    """Return the content of a file, and keep its offset, at which the child writes."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()
