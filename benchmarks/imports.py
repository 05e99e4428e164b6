"""The time of `import pi_native`, compared with that of its dependencies."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile

from .harness import ROOT, Bench, Table, environment, say, verdict

_ALLOWED = 1.25
_BASE = ("requests", "attrs")
# A module that no other one imported follows the bar without indentation.
_OUTERMOST = re.compile(r"^import time: +\d+ \| +(\d+) \| (\w+)$", re.MULTILINE)


def measure(bench: Bench) -> list[Table]:
    """Measure both in alternation, with `-X importtime`."""
    say("imports")
    ours, base = [], []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(bench.pick(61, 1)):
            base.append(import_seconds(cache, *_BASE))
            ours.append(import_seconds(cache, "pi_native"))
    # The first processes compile the modules.
    own, other = statistics.median(ours[1:] or ours), statistics.median(base[1:] or base)
    table = Table("Import time", ("import", "ms", "ratio", "asked", ""))
    table.data = {"pi_native": own, "base": other}
    ratio = own / other
    judged = verdict(ratio <= _ALLOWED)
    table.rows = [
        (", ".join(_BASE), f"{other * 1e3:.0f}", "", "", ""),
        ("pi_native", f"{own * 1e3:.0f}", f"{ratio:.2f}x", f"at most {_ALLOWED:g}x", judged),
    ]
    table.notes.append(f"Medians of {len(ours[1:] or ours)} processes each, from `-X importtime`.")
    return [table]


def import_seconds(cache: str, *names: str) -> float:
    """Return the seconds that a new process takes to import modules; `cache` has the bytecode."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import " + ", ".join(names)],
        cwd=ROOT,
        env={**environment(), "PYTHONPYCACHEPREFIX": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: int(microseconds) for microseconds, name in _OUTERMOST.findall(done.stderr)}
    return sum(found[name] for name in names) / 1e6
