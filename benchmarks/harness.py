"""Shared by the sections: the replay server, processes for the clients, tables."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "tests" / "gateway" / "node_modules"
_JOB_SECONDS = 900.0
_FOREIGN = re.compile(r"PI_|OPENAI_|ANTHROPIC_|PYTHONDONTWRITEBYTECODE|.*_proxy$", re.IGNORECASE)


@dataclass(frozen=True)
class TypeScript:
    """The TypeScript client, and the runtime it runs under."""

    bun: Path
    modules: Path

    def job(self, *arguments: str) -> Any:
        """Run client.ts, which prints its result as JSON."""
        script = Path(__file__).with_name("client.ts")
        with tempfile.TemporaryDirectory() as home:  # it writes an identity into the home directory
            command = [str(self.bun), str(script), str(self.modules), *arguments]
            return _run(command, {"HOME": home, "USERPROFILE": home})


@dataclass(frozen=True)
class Bench:
    """One run: the address of the replay server, the clients to measure, the number of rounds."""

    url: str
    rounds: int = 3
    quick: bool = False
    packages: frozenset[str] = frozenset()  # the peers among the Python packages
    typescript: TypeScript | None = None

    def pick(self, full: int, quick: int) -> int:
        """Return a size, or the smaller one in a quick run."""
        return quick if self.quick else full

    def wire(self, wire: str, count: int, framing: str = "events") -> str:
        """Return the address of a response."""
        return f"{self.url}/{wire}/{count}/{framing}"


@dataclass
class Table:
    """A table with a title and notes."""

    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)  # the same figures, for JSON

    def markdown(self) -> str:
        """Return the table as Markdown, with aligned columns."""
        grid = [self.header, *self.rows]
        widths = [max(len(row[column]) for row in grid) for column in range(len(self.header))]
        lines = [_line(row, widths) for row in grid]
        lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}\n", *lines, *notes])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "| " + " | ".join(cells) + " |"


def turn_name(wire: str, count: int) -> str:
    """Return the description of a turn."""
    kind, _, arriving = wire.partition("-")
    words = f"{count:,} {'text' if kind == 'text' else 'tool-call'} deltas"
    return f"{words}, {arriving.replace('-', ' ')}" if arriving else words


def verdict(met: bool) -> str:
    """Return the word for a target that is reached or missed."""
    return "met" if met else "MISSED"


def say(text: str) -> None:
    """Print to stderr which measurement runs."""
    print(text, file=sys.stderr, flush=True)


def ask(module: str, *arguments: str) -> Any:
    """Run the `job` of a module in a new process, and return its result."""
    return _run([sys.executable, "-m", "benchmarks.job", module, *arguments], {})


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run a replay server in a new process; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def find_packages(names: Sequence[str]) -> frozenset[str]:
    """Return the packages that are installed."""
    return frozenset(name for name in names if importlib.util.find_spec(name) is not None)


def find_typescript(bun: str | None, modules: str | None) -> TypeScript | None:
    """Return the TypeScript client, or None without it or without a bun that runs."""
    folder = Path(modules).resolve() if modules else MODULES
    if not (folder / "@oh-my-pi" / "pi-ai").is_dir():
        return None
    # Where npm skipped the postinstall script of bun, the first one is a stub.
    candidates = [bun or shutil.which("bun"), *sorted(folder.glob("@oven/bun-*/bin/bun"))]
    for candidate in candidates:
        if candidate and _runs(candidate):
            return TypeScript(Path(candidate), folder)
    return None


def _runs(binary: str | Path) -> bool:
    try:
        asked = subprocess.run([binary, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _run(command: list[str], more: dict[str, str]) -> Any:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment(), **more},
        stdout=subprocess.PIPE,
        timeout=_JOB_SECONDS,
        check=True,
    )
    return json.loads(done.stdout)


def environment() -> dict[str, str]:
    """Return the environment without proxies and settings of the clients and the interpreter."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    return {**kept, "NO_PROXY": "*"}
