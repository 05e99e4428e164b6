"""`chat --tools FILE.py`: the model calls functions of a file."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_native.testing import FakeGateway

from .conftest import Screen
from .terminal import NEEDS_TMUX, Terminal

pytest.importorskip("msgspec")
pytest.importorskip("docstring_parser")

TOOLS = '''
import threading

from pi_native import ToolError, tool


@tool
def clock(zone: str) -> str:
    """Tell the time."""
    if zone != "UTC":
        raise ToolError("no such zone")
    return "half past nine"


@tool
def crash() -> str:
    """Crash."""
    return {}["key"]
'''
APPROVED = '''
import threading

from pi_native import tool


@tool(approve=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


@tool
def hang() -> str:
    """Hang."""
    threading.Event().wait()
'''


@pytest.fixture(autouse=True)
def _run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("pi_native_chat_tools", None)


def call(name: str, **arguments: object) -> dict[str, object]:
    """Return a call for a script."""
    return {"name": name, "arguments": arguments}


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give the chat these prompts."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_the_tools_of_a_file_run(
    gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls and results are shown, and the rounds are in the file of the chat."""
    Path("tools.py").write_text(TOOLS)
    type_in(monkeypatch, "What time is it?\n")
    gateway.reply("Let me see.", tool_calls=[call("clock", zone="UTC"), call("clock", zone="X")])
    gateway.reply("It is half past nine.")
    assert screen.show("chat", "--tools", "tools.py", "--file", "chat.jsonl") == 0
    assert "Let me see." in screen.text
    assert 'clock {"zone": "UTC"} -> half past nine' in screen.text
    assert 'clock {"zone": "X"} failed: no such zone' in screen.text
    assert "It is half past nine." in screen.text
    lines = [json.loads(line) for line in Path("chat.jsonl").read_text().splitlines()]
    roles = [line["role"] for line in lines if "role" in line]
    assert roles == ["user", "assistant", "toolResult", "toolResult", "assistant"]


def test_a_chat_continues_with_the_tools_of_the_file_now(
    gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that were declared in an earlier chat, and exist no more, are not declared again."""
    for tools in (TOOLS, TOOLS.replace("def crash", "def other")):
        Path("tools.py").write_text(tools)
        type_in(monkeypatch, "Hi\n")
        assert screen.show("chat", "--tools", "tools.py", "--file", "chat.jsonl") == 0
    declared = [tool["name"] for tool in gateway.last_request.json["context"]["tools"]]
    assert declared == ["clock", "other"]


def test_a_crash_of_a_tool_names_its_line(
    gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chat continues, and the next prompt is answered."""
    Path("tools.py").write_text(TOOLS)
    type_in(monkeypatch, "Crash\nAgain\n")
    gateway.reply(tool_calls=[call("crash")]).reply("I am here.")
    assert screen.show("chat", "--tools", "tools.py") == 0
    line = TOOLS.splitlines().index('    return {}["key"]') + 1
    assert f"a tool failed: tools.py, line {line}: KeyError: 'key'" in screen.text
    assert "I am here." in screen.text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "cannot read the tools in tools.py: No such file"),
        ("x = (\n", "cannot load the tools in tools.py, line 1: SyntaxError: '(' was never closed"),
        ("\nimport nope\n", "tools.py, line 2: ModuleNotFoundError: No module named 'nope'"),
        ("\n\nraise SystemExit(3)\n", "tools.py, line 3: SystemExit: 3"),
        (
            "from pi_native import tool\n\ndef f(x): ...\n\ntool(f)\n",
            "tools.py, line 5: tool 'f': parameter 'x' has no annotation",
        ),
        ("def f(x: int) -> int: ...\n", "tools.py has no tool: decorate its functions with @tool"),
        (APPROVED, "tools.py: the tool 'delete' must be approved, and stdin is not a terminal"),
    ],
    ids=["missing", "syntax", "import", "exit", "signature", "none", "approval"],
)
def test_a_file_that_cannot_be_used_is_an_error(
    gateway: FakeGateway, screen: Screen, source: str | None, words: str
) -> None:
    """The error names the file and the line; nothing is sent."""
    if source is not None:
        Path("tools.py").write_text(source)
    assert screen.show("chat", "--tools", "tools.py") == 2
    assert words in " ".join(screen.text.split())
    assert gateway.requests == []


def test_an_option_that_does_not_exist_is_an_error(
    gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a chat without tools."""
    Path("tools.py").write_text(TOOLS)
    type_in(monkeypatch, "Hi\n")
    screen.show("chat", "--tools", "tools.py", "-o", "max_token=5")
    assert "-o: " in screen.text
    assert gateway.requests == []


@NEEDS_TMUX
@pytest.mark.slow
def test_approval_in_a_terminal(gateway: FakeGateway, tmp_path: Path) -> None:
    """Each call is asked for; Ctrl-C ends the answer while a tool hangs, and not the chat."""
    Path("tools.py").write_text(APPROVED)
    gateway.reply(tool_calls=[call("delete", path=name) for name in "abc"]).reply("Done.")
    gateway.reply(tool_calls=[call("hang")]).reply("Still here.")
    with Terminal(tmp_path) as terminal:
        terminal.run("chat", "--tools", "tools.py")
        terminal.wait_for("(?m)^>")
        terminal.type("Delete", "Enter")
        for name, answer in {"a": "y", "b": "", "c": "not mine"}.items():
            terminal.wait_for(rf'Run delete \{{"path": "{name}"\}}\? \[y/N, or a reason\]')
            terminal.type(answer, "Enter")
        terminal.wait_for("(?s)Done..*\n>")
        terminal.type("Hang", "Enter")
        terminal.wait_for("hang")
        terminal.type("", "C-c")
        terminal.wait_for("(?s)cancelled; the rounds before it are part.*\n>")
        terminal.type("Hello", "Enter")
        terminal.wait_for("(?s)Still here..*\n>")
        terminal.type("", "C-d")
        terminal.wait_for_exit()
    found = [m for m in gateway.last_request.messages if m["role"] == "toolResult"]
    texts = [m["content"][0]["text"] for m in found]
    assert texts == ["a is gone", "refused", "refused: not mine", "cancelled"]
