"""What keeps a fork and the last steps of a thread apart."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

import pi_native
from pi_native import _forks

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs Linux's list of threads"
)


def _ended() -> int:
    """The number of a thread that has just done its last thing in Python."""
    numbers: list[int] = []

    def work() -> None:
        _forks.begin_tls()
        numbers.append(threading.get_native_id())
        _forks.end_thread()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return numbers[0]


def test_a_thread_that_ended_is_waited_for() -> None:
    """The wait lasts until the thread is gone for the kernel too, where Python forgets it first."""
    for _ in range(200):
        task = Path(f"/proc/self/task/{_ended()}")
        _forks._wait_for_endings()
        assert not task.exists()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_for_threads_that_end() -> None:
    """Forking goes through that wait: behind it nobody is left to be waited for."""
    _ended()
    assert _forks._ending
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert not _forks._ending


def test_a_fork_does_not_wait_for_long() -> None:
    """A thread that said it ends, and does not, holds a fork up for a moment only."""
    stay, said = threading.Event(), threading.Event()

    def work() -> None:
        _forks.end_thread()
        said.set()
        stay.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    said.wait(30)
    begun = time.monotonic()
    _forks._wait_for_endings()
    took = time.monotonic() - begun
    stay.set()
    thread.join()
    assert 0.1 < took < 10


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_for_an_import_under_way() -> None:
    """A child never has a half-imported module, whose lock nobody would give back."""
    under_way, done = threading.Event(), threading.Event()

    def load() -> None:
        with _forks.LOADING:
            under_way.set()
            done.wait(30)

    thread = threading.Thread(target=load)
    thread.start()
    under_way.wait(30)
    ends = threading.Timer(0.1, done.set)
    ends.start()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if done.is_set() and _is_free() else 1)
    _, status = os.waitpid(pid, 0)
    thread.join()
    ends.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert _is_free()


def _is_free() -> bool:
    """Whether another thread than this one can have the lock."""
    had: list[bool] = []

    def take() -> None:
        had.append(_forks.LOADING.acquire(blocking=False))
        if had[0]:
            _forks.LOADING.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return had == [True]


def test_a_late_import_within_a_late_import_goes_on() -> None:
    """What a signal's handler loads while its thread loads something does not wait for that."""
    with _forks.LOADING:
        assert _forks.LOADING.acquire(timeout=1)
        _forks.LOADING.release()
        vars(pi_native).pop("Conversation", None)
        assert pi_native.Conversation.__name__ == "Conversation"
