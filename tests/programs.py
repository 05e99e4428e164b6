"""Python programs, each run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

SECONDS = 60  # a process may take long to start where many tests run at once


def run(
    program: str, *arguments: str, flags: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with variables beside those of the environment."""
    return subprocess.run(
        [sys.executable, *flags, "-c", program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
