"""The applications of `examples` in processes of their own, as their users start them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_native.testing import FakeGateway

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# A worker imports its framework before it answers: 10 s were measured on a busy machine.
PATIENCE_SECONDS = 60.0


def need(*modules: str) -> None:
    """Skip the test if a module is missing; fail in the session that installs all of them."""
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing and os.environ.get("PI_NATIVE_REQUIRE_FRAMEWORKS") == "1":
        pytest.fail(f"not installed: {missing}")
    if missing:
        pytest.skip(f"{missing} is not installed: nox -s frameworks installs it")


def need_program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextlib.contextmanager
def running(
    gateway: FakeGateway, *command: str, folder: Path = EXAMPLES, pass_fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m COMMAND` beside a gateway; at the end, send SIGTERM and expect exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(EXAMPLES),
            "PI_NATIVE_BASE_URL": gateway.url,
            "PI_NATIVE_API_KEY": str(gateway.api_key),
        },
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a test that fails must end all of its processes
    )
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def gunicorn(application: str, gateway: FakeGateway) -> Iterator[int]:
    """Serve a WSGI application with one process and eight threads; return its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = ("--bind", f"fd://{listener.fileno()}", "--log-level", "warning")
        threads = ("--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "10")
        command = ("gunicorn", *bind, *threads, application)
        with running(gateway, *command, pass_fds=(listener.fileno(),)):
            yield listener.getsockname()[1]
