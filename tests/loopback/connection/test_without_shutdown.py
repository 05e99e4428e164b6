"""Sockets whose shutdown wakes no thread, as on Windows: cancels and limits work all the same."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

from pi_native import AbortError, AbortSignal, Client, StreamTimeoutError
from pi_native.testing import FakeGateway, Stall

from ...conftest import threads, wait_until
from ..calls import KEY, start, workers
from ..peer import FullBacklog, Peer, answers

LATE = 15.0  # seconds; a recheck comes every two


@pytest.fixture
def no_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn `shutdown` into a call without effect."""
    monkeypatch.setattr(socket.socket, "shutdown", lambda *_: None)


@pytest.mark.usefixtures("no_shutdown")
def test_a_cancelled_turn_ends_its_worker(gateway: FakeGateway) -> None:
    """The caller is free at once, and the worker and the connection end with the next recheck."""
    gateway.reply("one two", fault=Stall(after=2))
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert next(stream).type == "start"
    began = time.monotonic()
    stream.abort()
    assert stream.result(5).stop_reason == "aborted"
    assert time.monotonic() - began < 1.5
    assert request.client_gone.wait(LATE)
    assert wait_until(lambda: not workers(), LATE)


def test_a_cancelled_connect_ends_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn whose connect is pending ends its worker after a cancel."""
    with FullBacklog() as backlog:
        monkeypatch.setattr(socket.socket, "shutdown", lambda *_: None)
        stream = start(backlog.url)
        assert wait_until(backlog.has_caller)
        stream.abort()
        with pytest.raises(AbortError):
            stream.result(5)
        assert wait_until(lambda: not workers(), LATE)
        monkeypatch.undo()


def test_health_of_a_silent_peer_meets_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`health()` returns when its limit passes, and its thread ends with the next recheck."""
    with Peer(answers()) as peer, Client(peer.url, KEY, total_timeout=0.3) as client:
        before = threads()
        with monkeypatch.context() as windows:
            windows.setattr(socket.socket, "shutdown", lambda *_: None)
            began = time.monotonic()
            with pytest.raises(StreamTimeoutError):
                client.health()
            assert time.monotonic() - began < 1.5
            assert peer.closed.wait(LATE)
        names = {"gateway-call"}
        assert wait_until(lambda: not names & {t.name for t in threads() - before}, LATE)


def interrupted(seconds: float) -> None:
    """Send this process a Ctrl-C in so many seconds."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.skipif(os.name == "nt", reason="sends a signal to itself")
@pytest.mark.parametrize("blocked", ["health", "wait"])
def test_an_interrupt_ends_a_call_that_blocks(blocked: str) -> None:
    """Ctrl-C ends `health()` and `AbortSignal.wait()`, and leaves no thread behind."""
    with Peer(answers()) as peer, Client(peer.url, KEY) as client:
        interrupted(0.3)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.health() if blocked == "health" else AbortSignal().wait(60)
        assert time.monotonic() - began < 10
