"""The benchmarks' wires say what the gateway would say, however they are cut into chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command, latency, server, wires
from benchmarks.harness import Table
from benchmarks.turns import Target
from pi_native._protocol.chunked import Body


def _parsed(events: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event[6:]) for event in events if event != wires.DONE]


def _replayed(path: str) -> tuple[list[bytes], bytes]:
    """Return the bytes that the server writes, and the body in them."""
    written: list[bytes] = []
    assert server.replay(path, written.append)
    body = Body(chunked=True)
    body.feed(b"".join(written).removeprefix(server.HEAD))
    assert body.finished
    return written, body.content()


@pytest.mark.parametrize("wire", ["text", "stamped", "tool", "same", "text-at-once"])
def test_a_wire_is_spelled_like_the_gateways(wire: str) -> None:
    """Compact JSON, not escaped without need, the snapshot last, and [DONE] at the end."""
    *events, last = wires.WIRES[wire](70)
    assert last == wires.DONE
    for event, data in zip(events, _parsed(events), strict=True):
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        assert event == f"data: {text}\n\n".encode()
        assert list(data)[-1] == ("message" if data["type"] == "done" else "partial")


def test_text_snapshots_are_the_text_so_far() -> None:
    """Each snapshot holds the sum of the deltas up to its event."""
    events = _parsed(list(wires.text(90)))
    deltas = [event for event in events if event["type"] == "text_delta"]
    text = ""
    for event in deltas:
        text += event["delta"]
        assert event["partial"]["content"][0]["text"] == text
    assert len(deltas) == 90
    assert events[-1]["message"]["content"][0]["text"] == text


def test_tool_call_snapshots_grow_twice() -> None:
    """The arguments grow as an object, and as the text that the deltas are pieces of."""
    events = _parsed(list(wires.tool_call(60)))
    text = ""
    for event in events:
        if event["type"] == "toolcall_delta":
            text += event["delta"]
            call = event["partial"]["content"][0]
            assert call["partialArgs"] == text
            assert call["arguments"] == json.loads(text + '"}')
    call = events[-1]["message"]["content"][0]
    assert json.loads(call["partialArgs"]) == call["arguments"]


def test_a_big_event_is_that_big() -> None:
    """The wire of one big event has one."""
    assert 100_000 < max(map(len, wires.big(100_000))) < 101_000


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_the_peers_wires_have_as_many_deltas(wire: str) -> None:
    """A peer reads as many deltas as this client does."""
    assert sum(b'"content":' in event for event in wires.openai(40)) == 40
    assert sum(b'"text_delta"' in event for event in wires.anthropic(40)) == 40
    assert len(list(wires.WIRES[wire](40))) in (42, 45)


@pytest.mark.parametrize("framing", ["events", "one", "pieces", "halves", "paced-1"])
def test_every_framing_is_the_same_body(framing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chunks are, the body in them is the wire."""
    monkeypatch.setattr(server, "HALF_SECONDS", 0.0)
    written, body = _replayed(f"/text/40/{framing}/v1/pi/stream")
    assert body == b"".join(wires.text(40))
    chunks = b"".join(written).count(b"\r\n") // 2
    assert (framing == "one") == (chunks < 6)


def test_stamps_are_found_however_they_are_cut() -> None:
    """The readers without a client count as many events as were sent, wherever a read ends."""
    answer = b"".join(b'{"delta":"%d ","partial":{}}\n' % stamp for stamp in (17, 0, 123456789))
    for size in range(1, len(answer) + 1):
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        assert list(latency.stamps(pieces)) == [17, 0, 123456789]


@pytest.mark.parametrize("path", ["", "/", "/text", "/text/5", "/text/5/odd/x", "/no/5/events"])
def test_there_is_nothing_elsewhere(path: str) -> None:
    """A path that names no wire is not answered."""
    assert not server.replay(path, [].append)


def test_targets_are_judged_both_ways() -> None:
    """Peers are to cost so many times ours, and we at most so many drains."""
    assert Target(times_less=5).judge(1.0, 5.0) == "met"
    assert Target(times_less=5).judge(1.0, 4.9) == "MISSED"
    assert Target(at_most=3.5).judge(3.5, 1.0) == "met"
    assert Target(at_most=3.5).judge(3.6, 1.0) == "MISSED"
    assert Target().judge(1.0, 1.0) == ""


def test_a_page_gets_its_figures_replaced(tmp_path: Path) -> None:
    """The text around the figures is unchanged."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    table = Table("Title", ("a", "b"), [("1", "long")], ["note"])
    command.write_into(page, table.markdown())
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n\n### Title\n\n| a | b    |\n| - | ---- |\n")
    assert text.endswith("| 1 | long |\n\nnote\n\n<!-- end of figures -->\nafter\n")
    page.write_text("no place")
    with pytest.raises(SystemExit, match="no place"):
        command.write_into(page, "")


@pytest.mark.parametrize(("wire", "plain"), [("text-by-fives", "text"), ("tool-by-fives", "tool")])
def test_deltas_by_fives_share_the_last_ones_snapshot(wire: str, plain: str) -> None:
    """Only the snapshots differ: each is that of the last delta which came with its own."""
    ahead, usual = _parsed(list(wires.WIRES[wire](20))), _parsed(list(wires.WIRES[plain](20)))
    for number, (event, other) in enumerate(zip(ahead, usual, strict=True)):
        if event["type"].endswith("_delta"):
            assert event["delta"] == other["delta"]
            assert event["partial"] == usual[number + 4 - (number - 2) % 5]["partial"]
        else:
            assert event == other
