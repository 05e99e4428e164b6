"""The plugin for llm, through llm's command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Stall

from .conftest import SIGNED, signed_turn

pytest.importorskip("llm.parts", reason="needs the extra [llm], with llm 0.32")
pytestmark = pytest.mark.slow

SECONDS = 60
COMMAND = [sys.executable, "-m", "llm"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return llm's own folder, which does not exist yet."""
    folder = tmp_path / "llm"
    monkeypatch.setenv("LLM_USER_PATH", str(folder))
    return folder


@pytest.fixture
def command(folder: Path, gateway_env: FakeGateway) -> Command:
    """Return a function that runs llm to its end."""
    assert folder, gateway_env

    def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return command


@pytest.fixture
def refreshed(gateway: FakeGateway, folder: Path, command: Command) -> Path:
    """Return llm's folder after `llm pi refresh`."""
    gateway.models = [{"id": "acme/small", "object": "model"}]
    done = command("pi", "refresh")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"1 model of {gateway.url}, in {folder / 'pi-models.json'}\n"
    return folder


@pytest.mark.usefixtures("refreshed")
def test_a_conversation(command: Command, gateway: FakeGateway) -> None:
    """`llm -c` sends the answer back unchanged, after a prompt with a system prompt and options."""
    events = signed_turn(SIGNED)
    gateway.events(events).reply("Again")
    first = command("-m", "pi/acme/small", "-s", "Be brief.", "-o", "temperature", "0", "-u", "Hi")
    assert (first.returncode, first.stdout) == (0, "Seen.\n")
    assert "Let me see." in first.stderr
    assert "10 input, 7 output" in first.stderr
    second = command("-c", "More")
    assert (second.returncode, second.stdout) == (0, "Again\n")
    assert gateway.last_request.messages[1] == events[0]["message"]  # type: ignore[index]
    assert gateway.last_request.system_prompt == ["Be brief."]
    assert gateway.requests[-2].options["temperature"] == 0


@pytest.mark.usefixtures("refreshed")
def test_a_chat(command: Command, gateway: FakeGateway) -> None:
    """`llm chat` continues one conversation."""
    gateway.reply("Blue.").reply("Red.")
    done = command("chat", "-m", "pi/acme/small", stdin="By day?\nAt dusk?\nquit\n")
    assert done.returncode == 0, done.stderr
    assert "Blue." in done.stdout
    assert [message["role"] for message in gateway.last_request.messages] == [
        *("user", "assistant", "user")
    ]


@pytest.mark.usefixtures("refreshed")
def test_a_schema_and_a_tool(command: Command, gateway: FakeGateway) -> None:
    """A tool of llm runs, and the answer follows the schema."""
    gateway.reply(tool_calls=[ToolCall("c1", "llm_version", {})])
    gateway.reply(tool_calls=[ToolCall("c2", "answer", {"version": "1"})])
    done = command(
        "-m", "pi/acme/small", "-T", "llm_version", "--schema", "version str", "Which one?"
    )
    assert json.loads(done.stdout) == {"version": "1"}
    assert gateway.last_request.messages[-1]["toolName"] == "llm_version"


@pytest.mark.usefixtures("refreshed")
def test_a_failure_is_one_line(command: Command, gateway: FakeGateway) -> None:
    """A failure is a line with its advice, without a traceback, and the exit code is 1."""
    done = command("-m", "pi/acme/small", "--key", "wrong", "Hi")
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "Error: " in done.stderr
    assert "PI_NATIVE_API_KEY" in done.stderr
    assert len(gateway.requests) == 2, "the list of models, and the turn"


@pytest.mark.parametrize("key", ["wrong", ""])
def test_a_refresh_that_fails(
    key: str, command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that refuses the key, or does not answer, is one line, and writes no list."""
    if key:
        done = command("pi", "refresh", "--key", key)
    else:
        monkeypatch.setenv("PI_NATIVE_BASE_URL", "http://127.0.0.1:9")
        done = command("pi", "refresh")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert not folder.joinpath("pi-models.json").exists()


def test_a_folder_that_cannot_be_made(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of llm that need no folder work without one."""
    monkeypatch.setenv("LLM_USER_PATH", os.devnull)
    done = command("pi", "--help")
    assert done.returncode == 0, done.stderr
    assert "refresh" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to a single process")
@pytest.mark.usefixtures("refreshed")
def test_ctrl_c_cancels_the_turn(gateway: FakeGateway) -> None:
    """After a Ctrl-C the gateway sees that the client is gone, and llm ends without a traceback."""
    gateway.reply("one two three", fault=Stall(after=3))
    command = [*COMMAND, "-m", "pi/acme/small", "Hi"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        gateway.wait_for_request(SECONDS)
        turn = gateway.wait_for_request(SECONDS)
        assert turn.stalled.wait(SECONDS)
        assert process.stdout.read(3) == "one"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert turn.client_gone.wait(SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in err
