"""The code of the README and of the site runs page by page, and prints the output that is shown."""

from __future__ import annotations

import configparser
import contextlib
import doctest
import html
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import pi_native
from pi_native import ToolCall, errors, testing
from pi_native.testing import FakeGateway, HTTPError, Raw, RecordedRequest, Reply, Stall

ROOT = Path(__file__).parent.parent.parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
MARKDOWN = sorted(DOCS.rglob("*.md"))
PAGES = [README, *(path for path in MARKDOWN if "```python" in path.read_text("utf-8"))]
# A cluster needs a process of its own: tests/loopback/batch/test_page.py. The other libraries need
# the real gateway: tests/gateway/test_recipes.py.
RUN_ELSEWHERE = {"more-than-one-machine", "other-frameworks"}
RUN_HERE = [page for page in PAGES if page.stem not in RUN_ELSEWHERE]
COLUMNS = 80
FOR_DEVELOPMENT = {"test", "integrations", "browser", "fuzz", "docs", "dev"}
Run = Callable[[Path], None]

_BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>\w+) -->\n)?"
    r'```python\n(?P<source>.*?)```(?:\n\n```text title="Output"\n(?P<output>.*?)```)?',
    re.DOTALL,
)
_FILE = re.compile(
    r"<!-- file: (\S+) -->\n(?:<!-- needs: \w+ -->\n)?```python\n(.*?)```", re.DOTALL
)
_CHECKER = doctest.OutputChecker()

MODEL = {
    "id": "anthropic/claude-sonnet-4-5",
    "context_length": 200_000,
    "input_modalities": ["text", "image"],
}
MODELS = json.dumps({"object": "list", "data": [MODEL]}).encode()
JSON = {"Content-Type": "application/json"}
ANSWERS = {
    "Why is the sky blue?": "Air scatters blue light more than red light.",
    "And at dusk?": "At dusk, light crosses more air, and mostly red light is left.",
    "Say this is a test.": "This is a test.",
    "What is my name?": "Your name is Pi.",
    "What is this?": "The image is empty.",
    "Think, then answer.": "The answer is 42.",
}

CALLS = {"clock": {"zone": "UTC"}, "delete": {"path": "notes.txt"}}
AFTER_CALLS = {"clock": "It is half past nine.", "delete": "I keep the file."}


@attrs.frozen
class Example:
    """A block of Python on a page, and the output that the page shows below it."""

    source: str
    output: str | None
    needs: str | None  # a module that the tests do not require

    @property
    def is_test_file(self) -> bool:
        """True for a block that is a file for pytest."""
        return "\ndef test_" in self.source


def examples_of(page: Path) -> list[Example]:
    """Return the page's blocks of Python, in order."""
    blocks = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Example(block["source"], block["output"], block["needs"]) for block in blocks]


class Gateway(FakeGateway):
    """A gateway that answers the prompts of the pages."""

    def __init__(self) -> None:
        super().__init__("gateway-token")
        self.default = self.answer
        self.busy = True
        self.add(Raw(MODELS, framing="length", headers=JSON), path="/v1/models")

    def answer(self, request: RecordedRequest) -> Reply | HTTPError:
        """Return the answer to a turn."""
        if request.model == "acme/retired":
            return HTTPError(404, "Unknown model: acme/retired")
        if request.model == "acme/broken":
            return Reply("Hello", error_message="the provider is overloaded", error_status=529)
        if request.model == "acme/busy" and self.busy:
            self.busy = False
            return HTTPError(429, "too many requests")
        if request.last_user_text == "Write a novel.":
            return Reply(fault=Stall(after=None))  # it never begins, so that it can be cancelled
        return reply(request)


def reply(request: RecordedRequest) -> Reply:
    """Return the reply of a model: a call of a tool if there is one, else text."""
    last = request.messages[-1]["role"]
    names = [tool["name"] for tool in request.json["context"].get("tools") or ()]
    if names == ["answer"]:
        return extraction(request)
    if names and last == "user":
        return Reply(tool_calls=[ToolCall("call_1", names[0], CALLS[names[0]])])
    text = ANSWERS.get(request.last_user_text, "Hello there!")
    if last == "toolResult":
        text = AFTER_CALLS[names[0]]
    thinking = "The question is short." if request.options.get("reasoning") else ""
    return Reply(pieces(text), thinking=pieces(thinking), usage=usage(len(text.split())))


def extraction(request: RecordedRequest) -> Reply:
    """Return the reply to an extraction: a call of `answer`, or a text without one."""
    if "30.48" not in request.last_user_text:
        return Reply("There is none.")
    measurement = {"length": 30.48, "unit": "cm"}
    return Reply(tool_calls=[ToolCall("call_1", "answer", measurement)])


def pieces(text: str) -> list[str]:
    """Cut a text into deltas of two words."""
    return re.findall(r" ?\S+(?: \S+)?", text)


def usage(output: int) -> dict[str, Any]:
    """Return the usage of an answer of that many tokens."""
    cost = {"input": 16 * 3e-6, "output": output * 15e-6, "cacheRead": 0, "cacheWrite": 0}
    cost["total"] = round(cost["input"] + cost["output"], 6)
    return {"input": 16, "output": output, "totalTokens": 16 + output, "cost": cost}


@pytest.fixture
def run_page(
    named: Callable[..., FakeGateway], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Return a function that runs the blocks of a page beside a gateway."""

    def run(page: Path) -> None:
        monkeypatch.chdir(tmp_path)
        with Gateway() as gateway, imported_as(page.stem) as module:
            named(gateway)
            for number, example in enumerate(examples_of(page), 1):
                if example.needs and not importlib.util.find_spec(example.needs):
                    continue
                source = example.source.replace("http://127.0.0.1:4000", gateway.url)
                code = compile(source, f"{page.name}, block {number}", "exec")
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(code, vars(module))
                check_output(example, printed.getvalue(), f"{page.name}, block {number}")

    return run


@contextlib.contextmanager
def imported_as(name: str) -> Iterator[ModuleType]:
    """Return an empty module, which code of the page can import by its name."""
    sys.modules[name] = module = ModuleType(name)
    try:
        yield module
    finally:
        del sys.modules[name]
        vars(module).clear()  # Django keeps the module; its clients must not keep their sockets


def check_output(example: Example, printed: str, where: str) -> None:
    """Compare the printed text with the shown one, in which `...` matches anything."""
    got = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
    wanted = example.output or ""
    same = _CHECKER.check_output(wanted, got, doctest.ELLIPSIS)
    assert same, f"{where} shows:\n{wanted}\nand prints:\n{got}"


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_and_prints_the_output_that_is_shown(
    page: Path, run_page: Run
) -> None:
    """Every block runs after the one before, and a block that prints shows what it prints."""
    run_page(page)


def test_a_block_that_names_a_file_is_that_file() -> None:
    """The programs in `examples` are on a page, word for word."""
    shown = {}
    for page in PAGES:
        shown |= dict(_FILE.findall(page.read_text(encoding="utf-8")))
    files = {f"examples/{path.name}": path for path in (ROOT / "examples").glob("*.py")}
    assert shown == {name: path.read_text(encoding="utf-8") for name, path in files.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_fits_the_column(page: Path) -> None:
    """No line of a block is wider than the text of the page, so that none is cut off."""
    lines = [line for example in examples_of(page) for line in example.source.splitlines()]
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_the_commands_of_the_readme_are_marked_for_ci() -> None:
    """Each of the two commands is alone in the block from which CI reads it."""
    readme = README.read_text(encoding="utf-8")
    for name in ("demo", "tests"):
        [block] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", readme, re.DOTALL)
        assert block.count("\n") == 1
        assert block.startswith("python3 -m venv .venv && ")


@pytest.mark.slow
def test_the_test_files_of_a_page_pass(tmp_path: Path) -> None:
    """A block that is a test file passes in a pytest that has the fixtures."""
    files = [example for page in PAGES for example in examples_of(page) if example.is_test_file]
    assert files
    for number, example in enumerate(files, 1):
        (tmp_path / f"test_{number}.py").write_text(example.source, encoding="utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "pi_native_pytest"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_the_guides_have_python() -> None:
    """The pages are in the folder in which the site expects them."""
    assert {"streaming", "cancelling", "errors", "quickstart"} <= {page.stem for page in PAGES}


def test_every_public_name_is_in_the_reference() -> None:
    """Each public name has an entry; the module of the errors has one for all of them."""
    names = {f"pi_native.{name}" for name in pi_native.__all__ if not hasattr(errors, name)}
    names |= {f"pi_native.testing.{name}" for name in testing.__all__}
    names |= {"pi_native.errors"}
    names |= {f"pi_native_pytest.{name}" for name in ("pi_native_env", "pi_native_gateway")}
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/*.md"))
    assert sorted(re.findall(r"^::: (\S+)$", pages, re.MULTILINE)) == sorted(names)


def test_every_page_is_in_the_navigation() -> None:
    """The navigation of the site names each page once."""
    listed = re.findall(r"[\w/-]+\.md", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(set(listed)) == sorted(str(path.relative_to(DOCS)) for path in MARKDOWN)


def test_every_guide_is_on_the_home_page() -> None:
    """The home page links to each page, except itself and the reference."""
    home = DOCS / "index.md"
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", home.read_text(encoding="utf-8")))
    assert {path.name for path in DOCS.glob("*.md")} - linked == {home.name}


@pytest.mark.parametrize("page", [README, *MARKDOWN], ids=lambda page: page.stem)
def test_every_link_between_pages_leads_to_a_file(page: Path) -> None:
    """A relative link names a file that exists."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_architecture_names_files_that_exist() -> None:
    """Each file and package that ARCHITECTURE.md names is in the repository."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([\w/]+(?:/|\.py|\.md))`", page))
    assert len(names) > 20
    folders = (ROOT, ROOT / "pi_native")
    assert [n for n in names if not any((folder / n).exists() for folder in folders)] == []
    packages = {f"{path.parent.name}/" for path in ROOT.glob("pi_native/*/__init__.py")}
    assert packages - names == set()


def test_every_extra_is_on_the_page_about_the_installation() -> None:
    """The table of extras has a row for each extra that users need, and no other."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (DOCS / "install.md").read_text(encoding="utf-8")
    extras = set(setup["options.extras_require"]) - FOR_DEVELOPMENT
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == extras


def test_every_option_of_a_turn_is_in_the_table() -> None:
    """The page of options has a row for each field of `StreamOptions`."""
    page = (DOCS / "options.md").read_text(encoding="utf-8")
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    fields = {field.name for field in attrs.fields(pi_native.StreamOptions)} - {"extra"}
    assert fields - set(re.findall(r"`(\w+)`", rows)) == set()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_screenshot_of_the_terminal_shows_the_answer(tmp_path: Path) -> None:
    """The screenshot contains every word of the answer, and loads nothing from other hosts."""
    screenshots = load(DOCS / "screenshots.py")
    svg = screenshots.terminal(tmp_path).read_text(encoding="utf-8")
    shown = html.unescape(re.sub(r"<[^>]+>", " ", svg))
    words = set(re.findall(r"[a-z]{2,}", screenshots.ANSWER))
    assert words - {"python"} <= set(re.findall(r"[a-z]+", shown))
    assert not re.search(r"(href|src)=|url\((?!#)|@import", svg)


def load(path: Path) -> Any:
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
