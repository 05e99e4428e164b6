"""A turn that rich draws, in this process: the written text, not its look.

`test_terminal.py` tests the look in a real terminal.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Slow, Stall

from ...conftest import wait_until
from .commands import SECONDS
from .conftest import Screen, press_ctrl_c, when_stalled

LAST_LINE = r"\d+ tokens in, \d+ out, \$[\d.]+, [\d.,]+ tokens/s, [\d.]+ s\n"


def in_final_order(text: str, parts: list[str]) -> bool:
    """Return whether all parts are in the text, their last copies in this order.

    Each part is printed once at the end, and may be in any number of frames before.
    """
    places = [text.rfind(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_an_answer(gateway: FakeGateway, screen: Screen) -> None:
    """Thinking, Markdown and a call are followed by tokens, cost, speed and time."""
    text = "# Title\n\nSome **bold** words.\n\n- one\n- two\n"
    gateway.reply(text, thinking="Hm.\nHm!", tool_calls=[ToolCall("1", "clock", {})])
    assert screen.show("ask", "Hi") == 0
    parts = ["Hm.", "Hm!", "Title", "Some bold words.", "• one", "• two", "╭─ clock", "tokens in"]
    assert in_final_order(screen.text, parts)
    assert re.search(LAST_LINE + r"\Z", screen.text)


def test_the_cursor_is_never_hidden(gateway: FakeGateway, screen: Screen) -> None:
    """No signal can leave the cursor hidden."""
    gateway.reply("word " * 20, fault=Slow(0.01))
    assert screen.show("ask", "Hi") == 0
    assert "\x1b[?25l" not in screen.getvalue()


@pytest.mark.parametrize("option", [["--plain"], []])
@pytest.mark.parametrize(("name", "value"), [("COLUMNS", "0"), ("JPY_PARENT_PID", "7")])
def test_text_is_shown_whatever_the_terminal(
    gateway: FakeGateway,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
    option: list[str],
    name: str,
    value: str,
) -> None:
    """An unknown width and a notebook cell show the answer, and --plain shows its Markdown."""
    monkeypatch.setenv(name, value)
    gateway.reply("Some **bold** words", fault=Slow(0.05))
    assert screen.show("ask", "Hi", *option) == 0
    plain = bool(option) or name == "JPY_PARENT_PID"
    text = "Some **bold** words" if plain else "Some bold words"
    assert text in screen.text
    if plain:
        assert screen.text.count("Some") == 1


def test_a_settled_block_is_printed_before_the_rest_arrives(
    gateway: FakeGateway, screen: Screen
) -> None:
    """It is printed once, while the block after it is rendered again and again."""
    gateway.reply(["one\n\n", "two", " three"], fault=[Stall(after=4), Slow(0.1, after=4)])
    early: list[str] = []

    def release() -> None:
        wait_until(lambda: "two" in screen.text, SECONDS)
        early.append(screen.text)
        gateway.release()

    releaser = when_stalled(gateway, release)
    assert screen.show("ask", "Hi") == 0
    releaser.join()
    [before] = early
    assert in_final_order(before, ["one", "two"])
    assert "three" not in before
    after = screen.text.removeprefix(before)
    assert "one" not in after
    assert "two three" in after


@pytest.mark.parametrize(("after", "seen"), [(3, "thinking, "), (7, "╭─ clock")])
def test_a_growing_block_is_shown(
    gateway: FakeGateway, screen: Screen, after: int, seen: str
) -> None:
    """A tool call is shown before it is complete; thinking is not shown with --no-thinking."""
    call = ToolCall("1", "clock", {"zone": "UTC"})
    gateway.reply("", thinking="Hm, well.", tool_calls=[call], fault=Stall(after=after))
    early: list[bool] = []

    def release() -> None:
        early.append(wait_until(lambda: seen in screen.text, SECONDS))
        gateway.release()

    releaser = when_stalled(gateway, release)
    assert screen.show("ask", "--no-thinking", "Hi") == 0
    releaser.join()
    assert early == [True]
    assert "Hm" not in screen.text


@pytest.mark.parametrize("option", ["--json", "--events"])
def test_json_is_not_formatted(gateway: FakeGateway, screen: Screen, option: str) -> None:
    """Each line on the terminal is an object."""
    gateway.reply("Hello")
    assert screen.show("ask", option, "Hi") == 0
    assert all(line.startswith("{") for line in screen.text.splitlines())


def test_an_answer_without_usage(gateway: FakeGateway, screen: Screen) -> None:
    """The last line says that no usage was reported."""
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    message |= {"stopReason": "stop"}
    gateway.events([{"type": "done", "reason": "stop", "message": message}])
    assert screen.show("ask", "Hi") == 0
    assert re.search(r"Hello\nno usage was reported, \d+\.\d s\n\Z", screen.text)


def test_a_failed_turn(gateway: FakeGateway, screen: Screen) -> None:
    """The text that had arrived stays, and the error is the last line."""
    gateway.reply("So far", error_message="the account is closed")
    assert screen.show("ask", "Hi") == 1
    assert screen.text.endswith("So far\npi-native: the turn failed: the account is closed\n")


def test_retries_are_shown(gateway: FakeGateway, screen: Screen) -> None:
    """Each failed attempt is a line, and the last failure is the error."""
    gateway.error(503, "a").error(503, "b").error(503, "c")
    assert screen.show("ask", "Hi") == 1
    assert "attempt 1 failed: a (HTTP 503)" in screen.text
    assert "attempt 2 failed: b (HTTP 503)" in screen.text
    assert "pi-native: c (HTTP 503)" in screen.text


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c(gateway: FakeGateway, screen: Screen) -> None:
    """The text stays, hidden thinking stays hidden, and the gateway sees the cancel."""
    gateway.reply("Hello **there** world", thinking="Hm.", fault=Stall(after=7))
    early: list[bool] = []

    def press() -> None:
        early.append(wait_until(lambda: "Hello there" in screen.text, SECONDS))
        press_ctrl_c()

    presser = when_stalled(gateway, press)
    assert screen.show("ask", "--no-thinking", "Hi") == 130
    presser.join()
    assert early == [True]
    assert screen.text.rstrip().endswith("Hello there")
    assert "Hm." not in screen.text
    assert gateway.requests[0].client_gone.wait(SECONDS)


@pytest.mark.skipif(not hasattr(signal, "SIGCONT"), reason="Windows cannot stop a process")
def test_the_shells_lines_are_kept_after_a_stop(gateway: FakeGateway, screen: Screen) -> None:
    """After Ctrl-Z and `fg` the answer is rendered below, not over the lines of the shell."""
    gateway.reply("Hello there", fault=[Stall(after=3), Slow(0.1, after=3)])
    places: list[int] = []

    def resume() -> None:
        wait_until(lambda: "Hello" in screen.text, SECONDS)
        os.kill(os.getpid(), signal.SIGCONT)
        places.append(len(screen.getvalue()))
        gateway.release()

    before = signal.getsignal(signal.SIGCONT)
    resumer = when_stalled(gateway, resume)
    assert screen.show("ask", "Hi") == 0
    resumer.join()
    assert "Hello there" in screen.text
    assert signal.getsignal(signal.SIGCONT) == before


def test_a_terminal_that_goes_away(gateway: FakeGateway, screen: Screen) -> None:
    """A closed terminal cancels the turn."""
    gateway.reply("Hello there, world", fault=Stall(after=4))
    leaver = when_stalled(gateway, lambda: setattr(screen, "lost", True))
    assert screen.show("ask", "Hi") == 1
    leaver.join()
    assert gateway.requests[0].client_gone.wait(SECONDS)


@pytest.fixture
def rows(screen: Screen) -> Callable[..., list[str]]:
    """Run a query on the terminal; return its lines, which have no trailing space."""

    def rows(*arguments: str) -> list[str]:
        assert screen.show(*arguments) == 0
        lines = screen.text.splitlines()
        assert lines == [line.rstrip() for line in lines]
        return lines

    return rows


@pytest.mark.usefixtures("gateway")
def test_models(rows: Callable[..., list[str]]) -> None:
    """The headings of the table have a line below."""
    headings, line, row = rows("models", "small", "--context", "1000")
    assert headings.split() == ["ID", "NAME", "CONTEXT", "OUTPUT", "MODALITIES", "KIND"]
    assert set(line) == {"─"}
    assert row.split() == ["acme/small", "small", "200,000", "32,768", "text,", "image", "chat"]


@pytest.mark.usefixtures("gateway")
def test_a_narrow_terminal(rows: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is a list where the table has no room."""
    monkeypatch.setenv("COLUMNS", "40")
    assert rows("models", "small") == [
        "ID          acme/small",
        "NAME        small",
        "CONTEXT     200,000",
        "OUTPUT      32,768",
        "MODALITIES  text, image",
        "KIND        chat",
    ]


@pytest.mark.usefixtures("gateway")
def test_doctor(screen: Screen) -> None:
    """The report is two tables and the next step, in lines of the width of the terminal."""
    assert screen.show("doctor", "-m", "acme/smal") == 1
    assert screen.text.count("─" * 30) >= 2
    assert re.search(r"model +unknown model +acme/smal is not among", screen.text)
    assert "\n\nnext: did you mean acme/small" in screen.text
    assert max(map(len, screen.text.splitlines())) <= 80


def test_usage(gateway: FakeGateway, rows: Callable[..., list[str]]) -> None:
    """A known share has a bar."""
    gateway.usage_reports.append({"provider": "acme"})
    fake, acme = rows("usage")[2:4]
    assert re.search(r"━+╺?━* +25%", fake)
    assert acme.split() == ["acme", "-", "-", "-", "-", "-"]
