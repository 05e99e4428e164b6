"""Make the screenshots of the site: `python docs/screenshots.py [--output FOLDER] [NAME ...]`.

* `terminal.svg`: an answer of `pi-native ask` in a real terminal. Needs tmux and the extra [cli].
* `notebook.png`: a cell of examples/notebook.ipynb in JupyterLab. Needs Chromium and the extras
  [jupyter], [test] and [browser].

The answers come from a fake gateway. The site includes the files in docs/images.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 80, 40
SECONDS = 60
QUESTION = "Why is the sky blue?"
ANSWER = """\
Air scatters **blue** light more than red light. The strength of the
scattering falls with the fourth power of the wavelength:

| colour | wavelength | scattering |
|--------|-----------:|-----------:|
| blue   |     450 nm |        5.9 |
| red    |     700 nm |        1.0 |

```python
def scattering(wavelength: float) -> float:
    # relative to red light
    return (700 / wavelength) ** 4
```

At dusk, light crosses *more air*, and mostly red light is left.
"""


def terminal(folder: Path) -> Path:
    """Write an answer of `pi-native ask` to terminal.svg, and return its path."""
    from pi_native.testing import FakeGateway, Reply, Slow

    path = folder / "terminal.svg"
    ask = shlex.join(["pi-native", "ask", QUESTION])
    with FakeGateway() as gateway:
        gateway.default = Reply(ANSWER, fault=Slow(0.02))
        environment = {
            "PI_NATIVE_BASE_URL": gateway.url,
            "PI_NATIVE_API_KEY": str(gateway.api_key),
            "PI_NATIVE_MODEL": "anthropic/claude-sonnet-4-5",
        }
        screen = last_screen(
            [sys.executable, "-m", "pi_native", "ask", QUESTION], f"$ {ask}", environment
        )
    path.write_text(as_svg(screen, ask), encoding="utf-8")
    return path


def last_screen(command: Sequence[str], prompt: str, environment: Mapping[str, str]) -> str:
    """Run a command in a terminal, and return what its screen shows, with escape sequences."""
    with tempfile.TemporaryDirectory() as folder:
        tmux = ("tmux", "-u", "-S", f"{folder}/socket", "-f", os.devnull)
        # `wait-for` blocks until the command has ended; then the screen is complete.
        steps = (["printf", "%s\\n\\n", prompt], command, [*tmux, "wait-for", "-S", "ended"])
        script = "; ".join([*map(shlex.join, steps), "read -r _"])
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        _run(*tmux, "new-session", "-d", *size, "sh", "-c", script, environment=environment)
        try:
            _run(*tmux, "wait-for", "ended")
            return _run(*tmux, "capture-pane", "-e", "-p").rstrip("\n")
        finally:
            _run(*tmux, "kill-server")


def _run(*command: str, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor", **environment}
    for name in ("TMUX", "NO_COLOR", "COLUMNS", "LINES"):
        variables.pop(name, None)
    return subprocess.run(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        timeout=SECONDS,
    ).stdout


def as_svg(screen: str, title: str) -> str:
    """Return a screen with escape sequences as SVG that loads nothing from other hosts."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(Text.from_ansi(screen), soft_wrap=True)
    svg = console.export_svg(title=title, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def notebook(folder: Path) -> Path:
    """Write a cell of the example notebook to notebook.png, and return its path."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT))
    from tests.notebook.page import NotebookPage, running_lab

    path = folder / "notebook.png"
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        home = Path(name)
        shutil.copy(ROOT / "examples" / "notebook.ipynb", home)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        with running_lab(home, lab_environment(home)) as address:
            view = browser.new_page(viewport={"width": 900, "height": 1200})
            page = NotebookPage(view, address, "notebook.ipynb")
            page.run(0)
            page.run(1)
            page.output(1).get_by_text("tokens in").wait_for()
            page.cell(1).screenshot(path=path)
        browser.close()
    return path


def lab_environment(home: Path) -> dict[str, str]:
    """Return an environment in which JupyterLab uses no settings of this account."""
    personal = ("PI_", "JUPYTER", "IPYTHON")
    variables = {name: text for name, text in os.environ.items() if not name.startswith(personal)}
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    return variables | {name: str(home / name.lower()) for name in folders} | {"HOME": str(home)}


def chromium() -> str | None:
    """Return the path of Chromium; None lets Playwright use its own."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


SCREENSHOTS: dict[str, Callable[[Path], Path]] = {"terminal": terminal, "notebook": notebook}


def main(arguments: list[str] | None = None) -> None:
    """Make the screenshots that are named; all of them if none is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *SCREENSHOTS], metavar="NAME")
    parser.add_argument("--output", type=Path, default=IMAGES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or SCREENSHOTS:
        print(SCREENSHOTS[name](options.output))


if __name__ == "__main__":
    main()
