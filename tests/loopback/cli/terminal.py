"""A real terminal, which a test types into and reads from: tmux, with a shell in it.

Each has a server of its own, on a socket of its own, and nobody's configuration.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ...conftest import wait_until

SECONDS = 60  # a process may take long to start where many tests run at once

NEEDS_TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class Terminal:
    """A terminal of so many columns and lines. It ends with the `with` block."""

    def __init__(self, folder: Path, *, shell: str = "bash", columns: int = 80, lines: int = 24):
        self._runs = 0
        self._tmux = ["tmux", "-u", "-S", str(folder / "tmux.socket"), "-f", os.devnull]
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        for name in ("TMUX", "NO_COLOR", "COLUMNS", "LINES"):
            self._environment.pop(name, None)
        size = ["-x", str(columns), "-y", str(lines)]
        self._do("new-session", "-d", *size, "-c", str(folder), shlex.join(SHELLS[shell]))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._do("kill-server")

    def _do(self, *command: str) -> str:
        found = subprocess.run(
            [*self._tmux, *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=SECONDS,
        )
        return found.stdout

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys such as "Enter", "Tab" or "C-c"."""
        if text:
            self._do("send-keys", "-l", text)
        if keys:
            self._do("send-keys", *keys)

    def run(self, *arguments: str, rest: str = "") -> None:
        """Have the shell run pi-native, and say its exit code after it."""
        command = shlex.join([sys.executable, "-m", "pi_native", *arguments])
        self._runs += 1  # for what is still to be seen of an earlier run not to pass for this one
        self.type(f"clear; {command}{rest}; echo exit=$? of {self._runs}", "Enter")

    def screen(self, *, styles: bool = False) -> str:
        """What can be seen, with escape sequences if wanted."""
        return self._do("capture-pane", "-p", *(["-e"] if styles else []))

    def everything(self) -> str:
        """What can be seen, and what has scrolled away above it."""
        return self._do("capture-pane", "-p", "-S", "-")

    def wait_for(self, pattern: str) -> str:
        """The screen, once something on it matches."""
        seen = ""

        def matches() -> bool:
            nonlocal seen
            seen = self.screen()
            return re.search(pattern, seen) is not None

        assert wait_until(matches, SECONDS), f"{pattern!r} is not on the screen:\n{seen}"
        return seen

    def wait_for_exit(self, code: int = 0) -> str:
        """The screen, once pi-native has ended, which must be with this exit code."""
        seen = self.wait_for(rf"exit=\d+ of {self._runs}\b")
        assert f"exit={code} of {self._runs}\n" in seen, seen
        return seen
