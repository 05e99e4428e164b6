"""Rules for each test: it leaves no thread and no socket, and reads no setting of its host."""

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

from pi_native._http.transport import shared_transport

# No deadline: a pause of the machine of 250 ms failed an example at hypothesis' default of 200 ms.
hypothesis.settings.register_profile(
    "thorough", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "fast", hypothesis.settings.get_profile("thorough"), max_examples=20
)
hypothesis.settings.load_profile("fast")

_PERMANENT_THREADS = {"MainThread", "stream-timer"}
_DESCRIPTORS = Path("/proc/self/fd")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for `-n logical`: none, unless the whole suite runs.

    The tests wait about as long as they compute, so there is one worker more than cores.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return (os.cpu_count() or 1) + 1


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Return whether the condition becomes true within that many seconds.

    It polls, for conditions that no event announces: a thread has ended, a descriptor is closed.
    Where an event exists, wait for the event.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def threads() -> set[threading.Thread]:
    """Return the running threads that a test may have started."""
    return {thread for thread in threading.enumerate() if thread.name not in _PERMANENT_THREADS}


def sockets() -> set[str]:
    """Return the open sockets of this process as `socket:[inode]`; empty without /proc."""
    found = set()
    for entry in os.listdir(_DESCRIPTORS) if _DESCRIPTORS.exists() else ():
        try:
            target = os.readlink(f"{_DESCRIPTORS}/{entry}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Let Ctrl-C work in tests and their subprocesses, also if a shell started them with `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def loaded_once() -> Iterator[None]:
    """Exclude the objects that exist before the first test from later garbage collections."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket."""
    if any(map(request.node.get_closest_marker, ("gateway", "browser"))):
        yield  # many tests share one server
        return
    threads_before, sockets_before = threads(), sockets()
    yield
    shared_transport().close()
    if threads() - threads_before or sockets() - sockets_before:
        gc.collect()  # only then: a collection takes 10 ms, which 4,000 tests would pay
    assert wait_until(lambda: not threads() - threads_before), threads() - threads_before
    assert wait_until(lambda: not sockets() - sockets_before), sockets() - sockets_before


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove settings, keys and proxies from the environment, and use an empty home directory."""
    for name in list(os.environ):
        ours = name.startswith(("PI_", "PYTEST_ADDOPTS", "COV"))
        if ours or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
