"""Subinterpreters: an isolated one gets an error that says so, and the process still ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pi_native import AbortSignal, Client, ConfigurationError
from pi_native._threads import timers
from pi_native.testing import FakeGateway

from ...programs import run

WORDS = "daemon threads, which this subinterpreter does not allow"


@pytest.fixture
def no_daemon_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse daemon threads as an isolated subinterpreter does, before the timer thread starts."""
    start = threading.Thread.__init__

    def refuse(thread: threading.Thread, *args: Any, **named: Any) -> None:
        if named.get("daemon"):
            raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
        start(thread, *args, **named)

    monkeypatch.setattr(threading.Thread, "__init__", refuse)
    monkeypatch.setattr(timers, "_timer_thread", timers.TimerThread())


@pytest.mark.usefixtures("no_daemon_threads")
def test_a_turn_without_daemon_threads_fails_from_its_stream() -> None:
    """The call returns a stream, which raises `ConfigurationError`."""
    with Client("http://127.0.0.1:1", "key") as client:
        stream = client.stream("x/y", "hi")
        with pytest.raises(ConfigurationError, match=WORDS):
            stream.result(10)
        with pytest.raises(ConfigurationError, match=WORDS):
            client.health()


@pytest.mark.usefixtures("no_daemon_threads")
def test_a_timeout_signal_without_daemon_threads_is_refused() -> None:
    """`AbortSignal.timeout` raises the same error, as its timeout would never pass."""
    with pytest.raises(ConfigurationError, match=WORDS):
        AbortSignal.timeout(1)


PROGRAM = """
import sys
from concurrent import interpreters
interpreter = interpreters.create()
interpreter.exec(f"import sys; sys.path[:] = {sys.path!r}")
interpreter.exec('''
import warnings
warnings.simplefilter("ignore")  # some C extensions do not load here
from pi_native import Client, ConfigurationError
client = Client(%r, %r)
for call in (client.stream("x/y", "hi").result, client.health):
    try:
        call()
    except ConfigurationError as exc:
        print(exc)
''' % tuple(sys.argv[1:]))
interpreter.close()
"""


def test_an_isolated_subinterpreter_gets_the_error() -> None:
    """Turns and gateway calls say what is missing, and the interpreter can be closed."""
    pytest.importorskip("concurrent.interpreters")
    with FakeGateway() as gateway:
        ran = run(PROGRAM, gateway.url, str(gateway.api_key))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(WORDS) == 2, ran.stdout + ran.stderr
