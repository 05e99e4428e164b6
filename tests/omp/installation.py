"""Run the real omp from an installation of package.json, in a home directory of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

START_SECONDS = 120.0
_LOOK_SECONDS = 0.1
# omp gets no other variable of this process: it would read keys and proxies from them.
_PASSED_ON = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")


class Omp:
    """The command line omp, with a home directory and variables."""

    def __init__(self, installation: Path, home: Path, variables: Mapping[str, str]) -> None:
        self.home = home
        modules = installation / "node_modules"
        self._command = [
            str(modules / "@oven/bun-linux-x64/bin/bun"),
            *("--preload", str(installation / "natives.ts")),
            str(modules / "@oh-my-pi/pi-coding-agent/dist/cli.js"),
        ]
        self._variables = dict(variables)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of omp, and of a program beside it."""
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {**passed_on, "HOME": str(self.home), **self._variables}

    def run(self, *arguments: str, **variables: str) -> str:
        """Run a command of omp to its end, and return its output."""
        done = subprocess.run(
            [*self._command, *arguments],
            env={**self.environment, **variables},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=True,
        )
        return done.stdout.strip()

    @contextmanager
    def serving(self, *arguments: str, url: str, **variables: str) -> Iterator[None]:
        """Run a server of omp during the block; begin when it answers `/healthz` at `url`."""
        log = self.home / f"{arguments[0]}.log"
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*self._command, *arguments],
                env={**self.environment, **variables},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_healthy(process, url, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if session.get(f"{url}/healthz", timeout=5).status_code < 500:
                    return
            except requests.ConnectionError:
                time.sleep(_LOOK_SECONDS)  # no event says that another process listens
    raise RuntimeError(f"omp did not start:\n{log.read_text(errors='replace')[-2000:]}")
