"""The cron example of the site runs, in an environment as cron gives it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pi_native.testing import FakeGateway

from ..calls import KEY

PAGE = Path(__file__).parents[3] / "docs" / "applications.md"
SCRIPT = re.compile(r"<!-- cron -->\n```sh\n(.*?)```", re.DOTALL)
CRON = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no cron")
def test_the_script_replaces_its_file_after_a_success_only(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    """A success replaces the file; a failed turn keeps it, exits with 1 and writes to stderr."""
    [source] = SCRIPT.findall(PAGE.read_text(encoding="utf-8"))
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    replacements = {
        "http://llm-gateway.internal:4000": gateway.url,
        "/etc/pi-native.key": str(key),
        "/var/www": str(tmp_path),
        "/opt/report/bin/pi-native": f"{sys.executable} -m pi_native",
    }
    for path, here in replacements.items():
        assert path in source
        source = source.replace(path, here)
    script = tmp_path / "motto.sh"
    script.write_text(source)

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**CRON, "HOME": str(tmp_path)}
        command = ["/bin/sh", str(script)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    gateway.reply("Begin where you are.").failed_turn(400, "no credit left", text="Beg")
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "motto.txt").read_text() == "Begin where you are.\n"
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "no credit left" in done.stderr
    assert (tmp_path / "motto.txt").read_text() == "Begin where you are.\n"
