"""In a process that gevent patches, the first call raises an error instead of a hang."""

from __future__ import annotations

import threading

import pytest

from pi_native import Client, ConfigurationError, Context, Model, UserMessage, stream_pi_native
from pi_native._threads.timers import TimerThread

from ...programs import run

CALL = """
import gevent.monkey
gevent.monkey.patch_all({})
from pi_native import Client, Context, Model, UserMessage, stream_pi_native
for call in (
    lambda: stream_pi_native(Model("m", "p"), Context([UserMessage("hi")])),
    lambda: Client("http://127.0.0.1:1", "key").stream("p/m", "hi"),
    lambda: Client("http://127.0.0.1:1", "key").models(),
):
    try:
        call()
    except Exception as exc:
        print(type(exc).__name__, exc)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "queue=False", "thread=False", "thread=False, queue=False"])
def test_a_process_patched_by_gevent_gets_an_error(how: str) -> None:
    """Each call raises an error that names gevent, for every way to patch, and the process ends."""
    pytest.importorskip("gevent")
    ran = run(CALL.format(how))
    lines = ran.stdout.splitlines()
    assert len(lines) == 3, ran.stderr
    for line in lines:
        assert line.startswith("ConfigurationError pi_native needs real threads"), line
        assert "gevent has replaced them" in line


def test_green_threads_are_detected_by_their_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function from a gevent module in place of threading's is enough."""

    def get_ident() -> int:
        return 0

    get_ident.__module__ = "gevent.thread"
    monkeypatch.setattr(threading, "get_ident", get_ident)
    with pytest.raises(ConfigurationError, match="gevent"):
        TimerThread().start()


@pytest.mark.slow
def test_a_process_that_only_imports_gevent_works() -> None:
    """An import of gevent without a patch changes nothing."""
    pytest.importorskip("gevent")
    with Client("http://127.0.0.1:1", "key") as client:
        stream = client.stream("p/m", "hi", max_retries=0)
        with pytest.raises(ConnectionError):
            stream.result(10)
    failed = stream_pi_native(Model("m", "p"), Context([UserMessage("hi")]))
    with pytest.raises(ConfigurationError, match="base_url"):
        failed.result(10)
