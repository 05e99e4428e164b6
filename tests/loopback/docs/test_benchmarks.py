"""The benchmarks run. Their turns are too short for meaningful numbers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command, harness
from benchmarks.harness import Bench
from benchmarks.server import Server


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a quick run without other clients; its server and jobs run in this process."""

    def run_here(call: list[str], _: dict[str, str]) -> Any:
        module, *arguments = call[call.index("benchmarks.job") + 1 :]
        result = importlib.import_module(f"benchmarks.{module}").job(*arguments)
        return json.loads(json.dumps(result))

    monkeypatch.setattr(harness, "_run", run_here)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Bench(server.url, rounds=1, quick=True)
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("section", list(command.SECTIONS))
def test_every_section_measures(section: str, bench: Bench) -> None:
    """Each section returns tables whose rows fit their headers."""
    for table in command.SECTIONS[section](bench):
        assert table.rows or "Left out" in table.notes[0]
        assert {len(row) for row in table.rows} <= {len(table.header)}
        assert table.title in table.markdown()
        json.dumps(table.data)


@pytest.mark.slow
def test_the_command_measures_in_separate_processes(tmp_path: Path) -> None:
    """The command prints its tables, and writes the figures to the given files."""
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    page.write_text("<!-- figures -->\n<!-- end of figures -->\n")
    options = ["--quick", "--no-peers", "--json", str(figures), "--write", str(page), "crowd"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "streams at once" in done.stdout
    assert "Left out, as not installed" in done.stdout
    assert "cores" in json.loads(figures.read_text())["about"][0]
    assert "streams at once" in page.read_text()


def test_an_unknown_section_is_refused() -> None:
    """An unknown section is a usage error."""
    with pytest.raises(SystemExit, match="2"):
        command.main(["--quick", "nothing"])
