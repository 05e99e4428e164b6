"""A real terminal that a test types into and reads from: tmux with a shell.

Each has its own tmux server on its own socket, and no configuration.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ...conftest import wait_until
from .commands import SECONDS

NEEDS_TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class Terminal:
    """A terminal with a size. It ends with the `with` block."""

    def __init__(self, folder: Path, *, shell: str = "bash", columns: int = 80, lines: int = 24):
        self._runs = 0
        self._tmux = ["tmux", "-u", "-S", str(folder / "tmux.socket"), "-f", os.devnull]
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        self._environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        for name in ("TMUX", "NO_COLOR", "COLUMNS", "LINES", "JPY_PARENT_PID"):
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
        """Run pi-native in the shell, and print its exit code after it."""
        command = shlex.join([sys.executable, "-m", "pi_native", *arguments])
        self._runs += 1  # so that the output of an earlier run is not taken for this one
        self.type(f"clear; {command}{rest}; echo exit=$? of {self._runs}", "Enter")

    def resize(self, columns: int) -> None:
        """Change the width of the terminal."""
        self._do("resize-window", "-x", str(columns))

    def terminate(self) -> None:
        """Send SIGTERM to the pi-native that the shell runs."""
        shell = self._do("display-message", "-p", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGTERM)

    def screen(self, *, styles: bool = False) -> str:
        """Return the visible text, with escape sequences if `styles`."""
        return self._do("capture-pane", "-p", *(["-e"] if styles else []))

    def everything(self) -> str:
        """Return the visible text and the lines that have scrolled away."""
        return self._do("capture-pane", "-p", "-S", "-")

    def wait_for(self, pattern: str) -> str:
        """Return the screen, once a part of it matches."""
        seen = ""

        def matches() -> bool:
            nonlocal seen
            seen = self.screen()
            return re.search(pattern, seen) is not None

        assert wait_until(matches, SECONDS), f"{pattern!r} is not on the screen:\n{seen}"
        return seen

    def wait_for_exit(self, code: int = 0) -> str:
        """Return the screen once pi-native has ended, and check its exit code."""
        seen = self.wait_for(rf"exit=\d+ of {self._runs}\b")
        assert f"exit={code} of {self._runs}\n" in seen, seen
        return seen
