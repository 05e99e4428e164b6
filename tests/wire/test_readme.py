"""The README's code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Reply

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks in that language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readmes_python_runs_from_top_to_bottom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every block runs, one after the other, against a gateway that answers like one."""
    monkeypatch.chdir(tmp_path)
    with FakeGateway("gateway-token") as gateway:
        gateway.default = lambda _: Reply(
            "Because of the air.",
            thinking="Hm.",
            tool_calls=[ToolCall("call_1", "clock", {"zone": "UTC"})],
        )
        monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
        monkeypatch.setenv("PI_NATIVE_API_KEY", "gateway-token")
        namespace: dict[str, Any] = {}
        for source in blocks("python"):
            exec(source.replace("http://127.0.0.1:4000", gateway.url), namespace)
    printed = capsys.readouterr().out
    assert "Because of the air." in printed
    assert "thinking: " in printed
    assert "cancelled before" in printed
    assert "call: clock {'zone': 'UTC'}" in printed
    assert namespace["client"] is not None
    assert len(namespace["chat"].messages) == 4


def test_the_newcomers_commands_are_marked_for_what_runs_them() -> None:
    """Each of the two commands stands alone in the block that CI takes it from."""
    for name in ("demo", "tests"):
        [block] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert block.count("\n") == 1
        assert block.startswith("python3 -m venv .venv && ")
