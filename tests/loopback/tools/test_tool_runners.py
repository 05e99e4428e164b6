"""The comparison of tool runners: what its page says of this package is what happens."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("msgspec")

from benchmarks.tool_runners import ours_runner
from benchmarks.tool_runners.outcome import run_one
from benchmarks.tool_runners.provider import Provider
from benchmarks.tool_runners.situations import Call, Situation, all_situations
from benchmarks.tool_runners.tables import row

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tool-runners.md"


@pytest.mark.parametrize("situation", all_situations(), ids=lambda situation: situation.name)
def test_the_page_shows_the_outcome(situation: Situation) -> None:
    """The page holds the row that a run gives now."""
    outcome = run_one(ours_runner, situation)
    assert not outcome.leaked
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    assert row(outcome) in rows


WIRES = {
    "/v1/messages": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "tool_result", "content": "no", "is_error": True}],
            }
        ]
    },
    "/v1/responses": {"input": [{"type": "function_call_output", "output": "error: no"}]},
    "/v1/chat/completions": {"messages": [{"role": "tool", "content": "error: no"}]},
    "/v1beta/models/fake:generateContent": {
        "contents": [{"parts": [{"functionResponse": {"response": {"error": "no"}}}]}]
    },
}


@pytest.mark.parametrize("path", WIRES)
def test_the_fake_provider_answers_by_its_script(path: str) -> None:
    """Each wire gives the calls, then the text, and records the results of the newest request."""
    turns = [(Call("call_1", "weather", {"city": "Oslo"}),), "Done."]
    with Provider(turns) as provider:
        for expected in ("weather", "Done."):
            body = json.dumps(WIRES[path]).encode()
            with urlopen(Request(provider.url + path, body), timeout=30) as response:
                assert expected in response.read().decode()
        assert len(provider.requests) == 2
        assert provider.results in (["error: no"], ['{"error": "no"}'])
