"""The notebook of `examples`, in a real JupyterLab page in headless Chromium.

Screenshots are kept in `.ci/work/screenshots`, or where PI_NATIVE_SCREENSHOTS says. Without a
browser these tests are skipped; with PI_NATIVE_REQUIRE_BROWSER=1 they fail.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pi_native import (
    AssistantMessage,
    Cost,
    DoneEvent,
    ImageContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    Usage,
)
from pi_native.testing import Events, FakeGateway, Stall

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PARTS = {
    "Chromium (apt-get install chromium)": CHROMIUM,
    "JupyterLab (the extra [browser])": importlib.util.find_spec("jupyterlab"),
    "Playwright (the extra [browser])": importlib.util.find_spec("playwright"),
    "a kernel (the extra [test])": importlib.util.find_spec("ipykernel"),
}
MISSING = [name for name, part in PARTS.items() if not part]
REQUIRED = os.environ.get("PI_NATIVE_REQUIRE_BROWSER") == "1"
ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = Path(os.environ.get("PI_NATIVE_SCREENSHOTS") or ROOT / ".ci/work/screenshots")

if not MISSING:
    import nbformat
    from playwright.sync_api import Browser, expect, sync_playwright

    from .page import NotebookPage, running_lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=f"needs {', '.join(MISSING)}"),
]

WORDS = "The sky is **blue**, because $1/\\lambda^4$ says:\n\n```python\nprint(1)\n```\n"
AS_FAR_AS_BLUE = 11  # events: three for the thinking, with its words; start, text_start, four words
CLIP = {"x": 0, "y": 0, "width": 120, "height": 40}
HOSTILE = (
    "<script>window.pwned = 1</script> <img src=x onerror='window.pwned = 2'>\n\n"
    "[x](javascript:window.pwned=3) ![x](https://evil.example/?secret)\n\n"
    '[a]: b "\n```\n"\n<img src=x onerror="window.pwned = 4">\n```\n\n'
    "1. Look:\n   ```html\n   <img src=x onerror='window.pwned = 5'>\n   ```\n\n"
    "`<img src=x onerror='window.pwned = 6'>` $<img src=x onerror='window.pwned = 7'>$\n\n"
    "$\\href{javascript:window.pwned=10}{x}$ \\\\(\\href{javascript:window.pwned=11}{x}\\\\)\n\n"
    "\\begin{equation}\\href{javascript:window.pwned=12}{x}\\end{equation}\n\n"
    "It costs $5 a month, or $10.\n\nEnd."
)
MARKUP = (
    "</code></details><img src=x onerror='window.pwned = 8'>\n\n<script>window.pwned = 9</script>"
)
CANARY = (
    "from IPython.display import Markdown\nMarkdown(\"<img src=x onerror='window.pwned = 0'>\")"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the notebooks."""
    path = tmp_path_factory.mktemp("notebooks")
    shutil.copy(ROOT / "examples" / "notebook.ipynb", path)
    hostile = nbformat.read(path / "notebook.ipynb", as_version=4)
    hostile.cells = [c for c in hostile.cells if c.cell_type == "code"][:2]
    hostile.cells.append(nbformat.v4.new_code_cell(CANARY))
    nbformat.write(hostile, path / "hostile.ipynb")
    return path


@pytest.fixture(scope="module")
def gateway() -> Iterator[FakeGateway]:
    """Start the gateway in the environment of the notebooks."""
    with FakeGateway() as fake:
        yield fake


@pytest.fixture(scope="module")
def lab(folder: Path, jupyter: dict[str, str], gateway: FakeGateway) -> Iterator[str]:
    """Start a JupyterLab, and return its address."""
    environment = {
        **jupyter,
        "PI_NATIVE_BASE_URL": gateway.url,
        "PI_NATIVE_API_KEY": str(gateway.api_key),
    }
    with running_lab(folder, environment) as address:
        yield address


@pytest.fixture(scope="module")
def browser(jupyter: dict[str, str]) -> Iterator[Browser]:
    """Start a headless Chromium."""
    assert not MISSING, f"needs {', '.join(MISSING)}"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, env={**jupyter})
        expect.set_options(timeout=30_000)
        yield chromium
        chromium.close()


@pytest.fixture
def notebook(browser: Browser, lab: str, request: pytest.FixtureRequest) -> Iterator[NotebookPage]:
    """Open the notebook of the test in a page that shows all of it."""
    page = browser.new_page(viewport={"width": 1100, "height": 2000})
    page.set_default_timeout(30_000)
    yield NotebookPage(page, lab, request.param)
    page.close()


def everything(picture: bytes) -> AssistantMessage:
    """Return a message with each of the usual blocks."""
    return AssistantMessage(
        [
            ThinkingContent("Hm."),
            TextContent(WORDS),
            ImageContent(base64.b64encode(picture).decode(), "image/png"),
            ToolCall("call_1", "clock", {"zone": "UTC"}),
        ],
        model="parrot",
        usage=Usage(input=36, output=13, total_tokens=49, cost=Cost(total=0.0003)),
        stop_reason="toolUse",
    )


def keep_screenshot(notebook: NotebookPage, name: str) -> None:
    """Save a screenshot of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    notebook.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("notebook", ["notebook.ipynb"], indirect=True)
def test_a_stream_is_watched_and_stopped(notebook: NotebookPage, gateway: FakeGateway) -> None:
    """The page shows the answer while it arrives, and keeps it after the stop button."""
    gateway.reply(WORDS, thinking="Physics, I think.", fault=Stall(after=AS_FAR_AS_BLUE))
    gateway.default = Events(
        [DoneEvent("toolUse", everything(notebook.page.screenshot(clip=CLIP)))]
    )
    answer = notebook.output(1)

    notebook.run_all()
    expect(answer.locator("strong")).to_have_text("blue")
    expect(answer.locator("summary")).to_have_text("Thinking")
    expect(answer.locator("details p")).to_be_hidden()
    expect(answer.locator("p", has_text="…")).to_be_visible()
    keep_screenshot(notebook, "1-streaming")

    notebook.press_stop()
    expect(answer.first).to_contain_text("Interrupted. This is what had arrived.")
    expect(answer.first).to_contain_text("The sky is blue,")
    expect(answer.last).to_have_text("KeyboardInterrupt")
    assert gateway.requests[-1].client_gone.wait(10)
    notebook.wait_until_idle()
    expect(notebook.output(2)).to_have_count(0)
    expect(notebook.output(3)).to_have_count(0)
    assert len(gateway.requests) == 1, "the cells after it did not run"
    keep_screenshot(notebook, "2-stopped")

    notebook.run(2)
    expect(notebook.output(2)).to_have_count(3)
    expect(notebook.output(2).last).to_have_text("98 tokens")
    notebook.run(3)
    message = notebook.output(3)
    expect(message).to_contain_text("tokens in")
    expect(message.locator("details[open] summary")).to_have_text("Tool call clock")
    expect(message.locator("mjx-container")).to_have_count(1)
    expect(message.locator("img")).to_have_js_property("naturalWidth", CLIP["width"])
    message.locator("summary", has_text="Thinking").click()
    expect(message.locator("details p")).to_be_visible()
    keep_screenshot(notebook, "3-complete")


@pytest.mark.parametrize("notebook", ["hostile.ipynb"], indirect=True)
def test_what_a_model_writes_cannot_act(notebook: NotebookPage, gateway: FakeGateway) -> None:
    """Nothing in an answer runs in the page, although the page runs scripts of outputs."""
    gateway.reply(
        HOSTILE, thinking=MARKUP, tool_calls=[{"name": MARKUP, "arguments": {"a": MARKUP}}]
    )
    notebook.run(0)
    notebook.run(1)
    answer = notebook.output(1)
    expect(answer).to_contain_text("tokens in")
    expect(answer).to_contain_text("End.")
    expect(answer.locator("img, script")).to_have_count(0)
    links = answer.get_by_role("link").evaluate_all("links => links.map(link => link.protocol)")
    assert links
    assert "javascript:" not in links
    expect(answer.locator("ol pre")).to_have_text("<img src=x onerror='window.pwned = 5'>")
    expect(answer).to_contain_text("It costs $5 a month, or $10.")
    expect(answer.locator("mjx-container")).to_have_count(1)
    keep_screenshot(notebook, "4-hostile")
    assert notebook.page.evaluate("() => window.pwned") is None

    notebook.run(2)
    notebook.page.wait_for_function("() => window.pwned === 0")
