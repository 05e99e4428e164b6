"""Starts proxies and servers of the system on loopback ports, and stops them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import wait_until

_SYSTEM = "/usr/sbin:/usr/local/sbin"


def find(program: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    found = shutil.which(program) or shutil.which(program, path=_SYSTEM)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def free_port() -> int:
    """Return a loopback port that is not in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a new folder that any user may enter: some programs give up root's rights."""
    with tempfile.TemporaryDirectory(prefix="boxes-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@contextlib.contextmanager
def running(command: list[str], port: int, logs: Path) -> Iterator[None]:
    """Run a program within the block, from the moment when it accepts connections."""
    log = logs / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=logs)
        try:
            ready = wait_until(lambda: accepts(port) or process.poll() is not None, 30)
            if not ready or process.poll() is not None:
                pytest.fail(f"{command[0]} does not start: {log.read_text(errors='replace')}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def accepts(port: int) -> bool:
    """Return True if something listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def connections(port: int) -> set[int]:
    """Return the local ports of the established connections to a loopback port."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if remote == f"0100007F:{port:04X}" and state == "01":
            found.add(int(local.rpartition(":")[2], 16))
    return found
