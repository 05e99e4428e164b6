"""Start the real gateway (server.ts, under bun) and stop it again.

Used by the tests' fixtures and by record.py; imports nothing of pi_native.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0

# The variables that a program needs to start. The gateway gets no other: it would read provider
# keys and timeouts from them, and an identity from the home directory.
PASSED_ON = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH")


class GatewayUnavailableError(Exception):
    """The real gateway cannot run on this machine; the text says why, and what to do."""


@dataclass(frozen=True)
class Gateway:
    """A running gateway: its address, its token and its process."""

    url: str
    token: str = field(repr=False)
    control: str
    process: subprocess.Popen[str]


def find_bun() -> Path:
    """Return a bun that runs; where npm skipped its postinstall script, the first one is a stub."""
    modules = HERE / "node_modules"
    if not modules.is_dir():
        raise GatewayUnavailableError("node_modules is missing: run `npm ci` in tests/gateway")
    candidates = [
        modules / ".bin" / "bun",
        modules / "bun" / "bin" / "bun.exe",
        *sorted(modules.glob("@oven/bun-*/bin/bun*")),
    ]
    for candidate in candidates:
        if candidate.is_file() and _runs(candidate):
            return candidate
    raise GatewayUnavailableError("no bun that runs in node_modules: run `npm ci` in tests/gateway")


def _runs(binary: Path) -> bool:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def running_gateway() -> Iterator[Gateway]:
    """Start a gateway, and stop it at the end of the block."""
    bun = find_bun()
    with tempfile.TemporaryDirectory() as home, open(Path(home, "stderr"), "w+b") as stderr:
        process = subprocess.Popen(
            [bun, "--preload", "./natives.ts", "server.ts"],
            cwd=HERE,
            env=_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            yield _first_line(process, stderr.name)
        finally:
            _stop(process)


def _environment(home: str) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed_on, "HOME": home, "USERPROFILE": home}


def _first_line(process: subprocess.Popen[str], stderr: str) -> Gateway:
    """Read the one line that the gateway prints; kill a gateway that prints none in time."""
    assert process.stdout is not None
    watch = threading.Timer(START_SECONDS, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
    finally:
        watch.cancel()
        watch.join()
    if not line:
        errors = Path(stderr).read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"the gateway did not start:\n{errors}")
    return Gateway(**json.loads(line), process=process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Close its stdin, which ends it; kill it after 10 s."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
