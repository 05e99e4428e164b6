"""A real JupyterLab, and a notebook in it as a browser shows it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Locator, Page

TOKEN = "lab-token"
_NO_QUESTIONS = '{"fetchNews": "false", "checkForUpdates": false}'
_UP = re.compile(r"http://127\.0\.0\.1:\d+/")


@contextlib.contextmanager
def running_lab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start a JupyterLab for the notebooks of a folder, and return its address."""
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = {
        "ServerApp.port": 0,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": TOKEN,
        "LabApp.user_settings_dir": folder / "settings",
        "LabApp.extension_manager": "readonly",
    }
    notices = folder / "settings" / "@jupyterlab" / "apputils-extension"
    notices.mkdir(parents=True)
    (notices / "notification.jupyterlab-settings").write_text(_NO_QUESTIONS, encoding="utf-8")
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "lab.log").open("w+", encoding="utf-8") as log:
        lab = subprocess.Popen(
            [*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            yield _address(lab)
        finally:
            lab.terminate()
            log.write(lab.communicate(timeout=60)[1])


def _address(lab: subprocess.Popen[str]) -> str:
    assert lab.stderr is not None
    seen = []
    for line in lab.stderr:
        seen.append(line)
        if found := _UP.search(line):
            return found[0]
    raise AssertionError("JupyterLab did not start:\n" + "".join(seen))


class NotebookPage:
    """One notebook, open in a page."""

    def __init__(self, page: Page, address: str, name: str) -> None:
        self.page = page
        page.goto(f"{address}doc/tree/{name}?token={TOKEN}")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until the kernel is idle."""
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()

    def cell(self, number: int) -> Locator:
        """Return the code cell of that number; the first one is 0."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        """Return the outputs of the cell that are not empty."""
        return self.cell(number).locator(".jp-OutputArea-output:not(:empty)")

    def run(self, number: int) -> None:
        """Run one cell."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run_all(self) -> None:
        """Choose "Run All Cells" from the menu."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()

    def press_stop(self) -> None:
        """Press the stop button."""
        self.page.locator('[data-command="notebook:interrupt-kernel"]').click()
