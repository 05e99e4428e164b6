"""The plugin for llm at the real gateway: a conversation from llm's database keeps signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from launch import Gateway

llm = pytest.importorskip("llm", reason="needs the extra [llm]")
pytest.importorskip("llm.parts", reason="needs llm 0.32")

pytestmark = pytest.mark.gateway

MODEL = "pi/scripted/claude-sonnet-4-5"
SIGNATURE = "Zmlyc3Qgc2lnbmF0dXJl"


@pytest.fixture
def command(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs llm's command line in this process."""
    from click.testing import CliRunner
    from llm.cli import cli

    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
    monkeypatch.setenv("PI_NATIVE_API_KEY", gateway.token)

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    return command


def test_a_conversation_of_the_database(command: Any, gateway: Gateway, upstream: Any) -> None:
    """`llm -c` sends the thinking of the stored answer to the provider, with its signature."""
    first = [{"thinking": "Let me see.", "signature": SIGNATURE}, {"text": "Seen."}]
    turns = [{"stop": "stop", "blocks": blocks} for blocks in (first, [{"text": "Again."}])]
    requests.put(f"{gateway.control}/script", json=turns, timeout=30).raise_for_status()
    assert "models of" in command("pi", "refresh")
    assert MODEL in command("models", "-q", "pi/scripted")
    assert "Seen." in command("-m", MODEL, "-o", "reasoning", "high", "Look")
    assert "Again." in command("-c", "-o", "reasoning", "high", "More")
    sent = upstream.calls[-1]["body"]["messages"][1]["content"]
    assert sent[0] == {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}
