"""Rules for each test: it leaves no thread and no socket, and reads no setting of its host."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

from pi_native._http.transport import shared_transport

from .repetitions import THOROUGH

# No deadline: a pause of the machine of 250 ms failed an example at hypothesis' default of 200 ms.
hypothesis.settings.register_profile(
    "thorough", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "fast", hypothesis.settings.get_profile("thorough"), max_examples=8
)
hypothesis.settings.load_profile("thorough" if THOROUGH else "fast")

# Otherwise each worker process compiles all tests, in 7 s, and each program the package, in 0.5 s.
sys.dont_write_bytecode = False

_PERMANENT_THREADS = {"MainThread", "stream-timer"}
_DESCRIPTORS = Path("/proc/self/fd")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for `-n logical`: none, unless the whole suite runs.

    The tests wait about as long as they compute, so there are two workers more than cores.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without the garbage collector, which takes a fifth of the time and finds nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Compile a part of the test modules in each worker process, where each collects all of them.

    A worker imports the modules from another one on than its neighbours, and finds those before it
    compiled when it gets there. An error is reported when pytest imports the module.
    """
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not isinstance(collector, pytest.Session) or not name.startswith("gw"):
        return
    folders = [Path(argument).resolve() for argument in collector.config.args]
    modules = sorted({path for folder in folders for path in folder.rglob("test_*.py")})
    first = len(modules) * int(name[2:]) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in modules[first:] + modules[:first]:
        with contextlib.suppress(Exception, pytest.skip.Exception):
            import_module(
                ".".join(path.relative_to(collector.config.rootpath).with_suffix("").parts)
            )


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


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty home directory, for tests that need no directory of their own."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, empty_home: Path
) -> Iterator[None]:
    """Remove settings, keys and proxies from the environment, and use an empty home directory.

    It is `tmp_path` if the test uses it. Otherwise the tests share one, because to create and to
    remove a directory takes 0.5 ms, which 4,000 tests would pay.
    """
    for name in list(os.environ):
        ours = name.startswith(("PI_", "PYTEST_ADDOPTS", "COV", "PYTHONDONTWRITEBYTECODE"))
        if ours or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    own = "tmp_path" in request.fixturenames
    monkeypatch.setenv("HOME", str(request.getfixturevalue("tmp_path") if own else empty_home))
    yield
    for path in empty_home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
