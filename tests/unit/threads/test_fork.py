"""What keeps a fork apart from late imports, handshakes and the last steps of a thread."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pi_native
from pi_native._threads import fork as _forks

from ... import forking
from ...conftest import wait_until
from ...forking import LEFT, forks, in_child

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
        _forks._before()
        _forks._after()
        assert not task.exists()


@forks
def test_a_fork_waits_for_threads_that_end() -> None:
    """Forking goes through that wait: behind it nobody is left to be waited for."""
    _ended()
    assert _forks._ending
    in_child(lambda: None)
    assert not _forks._ending


@contextlib.contextmanager
def _elsewhere(*steps: Callable[[], object]) -> Iterator[threading.Event]:
    """A thread that did the first step, and does the next when told to, or when this is over."""
    go_on, did = threading.Event(), threading.Event()

    def work() -> None:
        for step in steps:
            step()
            did.set()
            go_on.wait(LEFT)

    thread = threading.Thread(target=work)
    thread.start()
    assert did.wait(LEFT)
    try:
        yield go_on
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize("say", [_forks.end_thread, _forks.begin_handshake])
def test_a_fork_does_not_wait_for_long(say: Callable[[], None]) -> None:
    """A thread that said it ends, or shakes hands, and goes on so, holds a fork up for a moment."""
    with _elsewhere(say, _forks.end_handshake):
        begun = time.monotonic()
        _forks._before()
        took = time.monotonic() - begun
        _forks._after()
    assert 0.5 < took < 20


@forks
def test_a_fork_waits_for_handshakes() -> None:
    """A child is never made in the middle of another thread's handshake, with its locks."""
    with _elsewhere(_forks.begin_handshake, _forks.end_handshake) as go_on:
        ends = threading.Timer(0.1, go_on.set)
        ends.start()
        assert in_child(lambda: go_on.is_set() and not _forks._handshaking)
        ends.join()


@pytest.mark.parametrize(
    "say", [_forks.end_thread, _forks.begin_handshake, _forks.answer_handshake]
)
def test_nobody_begins_or_ends_beside_a_fork(say: Callable[[], None]) -> None:
    """What a fork would have to wait for waits for the fork instead, which so comes to its end."""
    did = threading.Event()

    def work() -> None:
        say()
        _forks.end_handshake()
        did.set()

    thread = threading.Thread(target=work)
    _forks._before()
    thread.start()
    assert not did.wait(0.1)
    _forks._after()
    assert did.wait(LEFT)
    thread.join()


def test_nobody_begins_a_handshake_while_a_fork_waits() -> None:
    """Otherwise there might always be one more, and the fork would never come to its end."""
    order: list[str] = []

    def fork() -> None:
        _forks._before()
        order.append("fork")
        _forks._after()

    def begin() -> None:
        _forks.begin_handshake()
        order.append("handshake")
        _forks.end_handshake()

    with _elsewhere(_forks.begin_handshake, _forks.end_handshake):
        forking = threading.Thread(target=fork)
        forking.start()
        assert wait_until(lambda: not _is_free(_forks._gate), LEFT)
        beginning = threading.Thread(target=begin)
        beginning.start()
        beginning.join(0.1)
        assert order == []
    forking.join()
    beginning.join()
    assert order == ["fork", "handshake"]


@forks
def test_a_handshake_that_a_fork_waits_for_is_answered() -> None:
    """Where both sides are in one process, the one that answers is let in while the fork waits."""
    with _elsewhere(_forks.begin_handshake, _forks.end_handshake) as go_on:

        def work() -> None:
            wait_until(lambda: not _is_free(_forks._gate), LEFT)
            _forks.answer_handshake()
            _forks.end_handshake()
            go_on.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert in_child(go_on.is_set)
        thread.join()


@forks
def test_a_fork_within_its_own_handshake_goes_on() -> None:
    """What a signal's handler forks does not wait for the handshake that it interrupted."""
    _forks.begin_handshake()
    begun = time.monotonic()
    assert in_child(lambda: not _forks._handshaking)
    took = time.monotonic() - begun
    _forks.end_handshake()
    assert took < _forks._LONGEST_TLS


@forks
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
    assert in_child(lambda: done.is_set() and _is_free())
    thread.join()
    ends.join()
    assert _is_free()


def _is_free(lock: Any = _forks.LOADING) -> bool:
    """Whether another thread than this one can have the lock."""
    had: list[bool] = []

    def take() -> None:
        had.append(lock.acquire(blocking=False))
        if had[0]:
            lock.release()

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


@forks
def test_a_child_that_hangs_is_told_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests fork with says where the child hangs, and does not wait for it."""
    monkeypatch.setattr(forking, "LEFT", 1)
    begun = time.monotonic()
    with pytest.raises(AssertionError, match=r"the child hung.*\n.*in wait\n"):
        in_child(threading.Event().wait)
    with pytest.raises(AssertionError, match="the child died: -9"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert time.monotonic() - begun < 20
