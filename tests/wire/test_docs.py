"""The guides' code runs as it stands there, page by page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Reply

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python" in path.read_text("utf-8"))


def python_of(page: Path) -> list[str]:
    """The page's blocks of Python, in order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_pages_python_runs_from_top_to_bottom(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every block runs, one after the other, beside a gateway that answers each turn."""
    monkeypatch.chdir(tmp_path)
    with FakeGateway("gateway-token") as gateway:
        gateway.default = lambda _: Reply(
            "Because of the air.",
            thinking="Hm.",
            tool_calls=[ToolCall("call_1", "clock", {"zone": "UTC"})],
        )
        monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
        monkeypatch.setenv("PI_NATIVE_API_KEY", "gateway-token")
        namespace: dict[str, Any] = {"__name__": page.stem}
        for number, source in enumerate(python_of(page), 1):
            code = compile(
                source.replace("http://127.0.0.1:4000", gateway.url),
                f"{page.name}, block {number}",
                "exec",
            )
            exec(code, namespace)


def test_a_pages_tests_pass(tmp_path: Path) -> None:
    """Blocks that are test files, each by itself, pass in a pytest that has the fixture."""
    files = [source for page in PAGES for source in python_of(page) if has_tests(source)]
    assert files
    for number, source in enumerate(files, 1):
        (tmp_path / f"test_{number}.py").write_text(source, encoding="utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "pi_native_pytest"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def has_tests(source: str) -> bool:
    """Whether a block is a test file."""
    return "\ndef test_" in source


def test_there_are_pages_with_python() -> None:
    """The guides are found where the site has them."""
    assert {"streaming", "cancelling", "errors", "quickstart"} <= {page.stem for page in PAGES}


def test_every_page_is_in_the_site() -> None:
    """No page is written and then not found: the navigation names each."""
    listed = re.findall(r"[\w/-]+\.md", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(set(listed)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
