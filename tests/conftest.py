"""What every test is held to: no thread and no descriptor outlives it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from pi_native._http import transport as _http

# A machine that stops for a moment is no fault of what is tested: with hypothesis' own deadline of
# 200 ms an example failed that a 250 ms pause of the process fell into.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

_STAYS = {"MainThread", "stream-timer"}
_DESCRIPTORS = Path("/proc/self/fd")


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether the condition comes true within so many seconds.

    It looks again and again, for what it is there for tells nobody: that a thread has ended, that a
    descriptor was closed, what a stream knows by now. What can set an event is waited for by that.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def threads() -> set[threading.Thread]:
    """The threads that a test would have to answer for."""
    return {thread for thread in threading.enumerate() if thread.name not in _STAYS}


def sockets() -> set[str]:
    """The process's open sockets, by their inodes."""
    found = set()
    for entry in os.listdir(_DESCRIPTORS) if _DESCRIPTORS.exists() else ():
        try:
            target = os.readlink(_DESCRIPTORS / entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Ctrl-C works in the tests and in what they start, also where a shell runs them with `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def loaded_once() -> Iterator[None]:
    """What was imported and collected by now needs no looking through after each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket behind."""
    if any(map(request.node.get_closest_marker, ("gateway", "browser"))):
        yield  # its server is shared by many tests
        return
    threads_before, sockets_before = threads(), sockets()
    yield
    _http.shared_transport().close()
    gc.collect()
    assert wait_until(lambda: not threads() - threads_before), threads() - threads_before
    assert wait_until(lambda: not sockets() - sockets_before), sockets() - sockets_before


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings, keys and proxies of whoever runs it, nor does what it starts."""
    for name in list(os.environ):
        ours = name.startswith(("PI_", "PYTEST_ADDOPTS", "COV"))
        if ours or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
