"""The code of the README and of the guides runs as it stands there, page by page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pi_native
from pi_native import ToolCall, errors, testing
from pi_native.testing import FakeGateway, RecordedRequest, Reply, Stall

ROOT = Path(__file__).parent.parent.parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python" in path.read_text("utf-8"))
Run = Callable[[Path], dict[str, Any]]


def python_of(page: Path) -> list[str]:
    """The page's blocks of Python, in order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def answer(request: RecordedRequest) -> Reply:
    """The answer to every turn of the pages; a novel never begins, so that it can be cancelled."""
    if request.last_user_text == "Write a novel.":
        return Reply(fault=Stall(after=None))
    return Reply(
        "Because of the air.",
        thinking="Hm.",
        tool_calls=[ToolCall("call_1", "clock", {"zone": "UTC"})],
    )


@pytest.fixture
def run_page(
    named: Callable[..., FakeGateway], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Runs a page's blocks, beside a gateway that answers each turn; returns what they define."""

    def run(page: Path) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        namespace: dict[str, Any] = {"__name__": page.stem}
        with FakeGateway("gateway-token") as gateway:
            gateway.default = answer
            named(gateway)
            for number, source in enumerate(python_of(page), 1):
                here = source.replace("http://127.0.0.1:4000", gateway.url)
                exec(compile(here, f"{page.name}, block {number}", "exec"), namespace)
        return namespace

    return run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_pages_python_runs_from_top_to_bottom(page: Path, run_page: Run) -> None:
    """Every block runs, one after the other."""
    run_page(page)


def test_the_readmes_python_runs_and_does_what_it_says(
    run_page: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block runs, and prints what it is there to print."""
    namespace = run_page(README)
    printed = capsys.readouterr().out
    assert "Because of the air." in printed
    assert "thinking: " in printed
    assert "cancelled before" in printed
    assert "call: clock {'zone': 'UTC'}" in printed
    assert namespace["client"] is not None
    assert len(namespace["chat"].messages) == 4


def test_the_newcomers_commands_are_marked_for_what_runs_them() -> None:
    """Each of the two commands stands alone in the block that CI takes it from."""
    readme = README.read_text(encoding="utf-8")
    for name in ("demo", "tests"):
        [block] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", readme, re.DOTALL)
        assert block.count("\n") == 1
        assert block.startswith("python3 -m venv .venv && ")


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


def test_every_public_name_is_in_the_reference() -> None:
    """Each has its place there; the errors have theirs by their module."""
    names = {f"pi_native.{name}" for name in pi_native.__all__ if not hasattr(errors, name)}
    names |= {f"pi_native.testing.{name}" for name in testing.__all__}
    names |= {"pi_native.errors", "pi_native_pytest.pi_native_gateway"}
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/*.md"))
    assert sorted(re.findall(r"^::: (\S+)$", pages, re.MULTILINE)) == sorted(names)


def test_every_page_is_in_the_site() -> None:
    """No page is written and then not found: the navigation names each."""
    listed = re.findall(r"[\w/-]+\.md", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(set(listed)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
