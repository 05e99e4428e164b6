"""A finished turn keeps no objects alive, and a running turn does not keep the process alive."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from pi_native import AbortController, Client
from pi_native.testing import FakeGateway

from ...conftest import wait_until
from ...programs import run


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Disable the garbage collector, so that only reference counts free objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


SIGNALS: dict[str, Callable[[], object]] = {
    "no signal": lambda: None,
    "a signal": lambda: AbortController().signal,
    "an event": threading.Event,
}


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS.keys())
def test_a_finished_turn_is_freed_with_its_stream(signal: Callable[[], object]) -> None:
    """Only the stream refers to a turn's events: no timer, pool or signal does."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        given = signal()
        stream = client.stream("x/y", "hi", signal=given, total_timeout_ms=60_000)
        channel = weakref.ref(stream._channel)
        assert list(stream)
        del stream
        assert wait_until(lambda: channel() is None)


SCRIPT = """
from pi_native import Client
from pi_native.testing import FakeGateway, Stall
gateway = FakeGateway()
gateway.start()
gateway.reply("Hello world", fault=Stall(after=3))
stream = Client(gateway.url, gateway.api_key).stream("x/y", "hi")
print(next(stream).type)
"""


@pytest.mark.slow
def test_a_program_ends_at_once_although_a_turn_still_streams() -> None:
    """The interpreter exits without a wait for the worker thread, and without output."""
    ended = run(SCRIPT, flags=("-X", "dev", "-W", "always"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "start\n", "")
