"""Description of the machine and the versions of a run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from .harness import Bench, TypeScript

_OURS = ("pi-native", "requests", "urllib3", "sseclient-py", "attrs", "cattrs")


def describe(bench: Bench) -> list[str]:
    """Return lines about the machine, the versions, and the clients that are not measured."""
    return [
        f"Machine: {os.cpu_count()} cores, {_processor()}; {platform.system()} "
        f"{platform.release()}; {platform.python_implementation()} {platform.python_version()}.",
        f"Load averages when the run began: {load()}.",
        "Versions: " + ", ".join(map(_version, _OURS)) + ".",
        "Peers: " + (", ".join(_peers(bench)) or "none") + ".",
        *_left_out(bench),
        *(["A quick run, to see that it works: its figures mean nothing."] if bench.quick else []),
    ]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def load() -> str:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return ", ".join(f"{load:.1f}" for load in os.getloadavg())


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (not installed)"


def _peers(bench: Bench) -> list[str]:
    found = [_version(name) for name in sorted(bench.packages)]
    return found + (_typescript(bench.typescript) if bench.typescript else [])


def _typescript(peer: TypeScript) -> list[str]:
    asked = subprocess.run([peer.bun, "--version"], capture_output=True, text=True, check=True)
    package = peer.modules / "@oh-my-pi" / "pi-ai" / "package.json"
    version = json.loads(package.read_text(encoding="utf-8"))["version"]
    return [f"@oh-my-pi/pi-ai {version}", f"bun {asked.stdout.strip()}"]


def _left_out(bench: Bench) -> list[str]:
    missing = [name for name in ("openai", "anthropic") if name not in bench.packages]
    missing += [] if bench.typescript else ["the TypeScript client"]
    return [f"Left out, as not installed: {', '.join(missing)}."] if missing else []
