"""What the command line draws with rich, in this process: what is written, not how it looks.

How it looks is seen in a real terminal, in `test_terminal.py`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pi_native import ToolCall
from pi_native.__main__ import main
from pi_native.testing import FakeGateway, Slow, Stall

from ...conftest import wait_until

SECONDS = 60
LAST_LINE = r"\d+ tokens in, \d+ out, \$[\d.]+, [\d.,]+ tokens/s, [\d.]+ s\n"


class Screen(io.StringIO):
    """A stand-in for a terminal that can draw."""

    encoding = "utf-8"
    lost = False

    def isatty(self) -> bool:
        """It is one."""
        return True

    def write(self, text: str) -> int:
        """Take it, unless the terminal has gone away."""
        if self.lost:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().write(text)

    def show(self, *arguments: str) -> int:
        """Run the command line here, both its streams being this terminal; its exit code."""
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            return main(arguments)

    @property
    def text(self) -> str:
        """What was written, without styles and cursor movements."""
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of the usual size."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return Screen()


@pytest.fixture
def gateway(named: Callable[..., FakeGateway]) -> Iterator[FakeGateway]:
    """A started gateway, which the environment names."""
    with FakeGateway(models=["acme/large", "acme/small"]) as gateway:
        yield named(gateway, "acme/large")


def when_stalled(gateway: FakeGateway, act: Callable[[], object]) -> threading.Thread:
    """Do something once the next turn stalls."""

    def wait() -> None:
        assert gateway.wait_for_request(SECONDS).stalled.wait(SECONDS)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def press_ctrl_c() -> None:
    """As whoever sits at this terminal would."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


def in_final_order(text: str, parts: list[str]) -> bool:
    """Whether all of it was written, and in the end in this order.

    Each part is printed for good once, and may have been drawn before in any number of frames. How
    many, and how much each one shows, is a matter of time.
    """
    places = [text.rfind(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_an_answer(gateway: FakeGateway, screen: Screen) -> None:
    """Thinking, Markdown, a call, and what it took."""
    text = "# Title\n\nSome **bold** words.\n\n- one\n- two\n"
    gateway.reply(text, thinking="Hm.\nHm!", tool_calls=[ToolCall("1", "clock", {})])
    assert screen.show("ask", "Hi") == 0
    parts = ["Hm.", "Hm!", "Title", "Some bold words.", "• one", "• two", "╭─ clock", "tokens in"]
    assert in_final_order(screen.text, parts)
    assert re.search(LAST_LINE + r"\Z", screen.text)


def test_what_is_settled_is_printed_before_the_rest_has_come(
    gateway: FakeGateway, screen: Screen
) -> None:
    """And only once, while what follows it is drawn again and again."""
    gateway.reply(["one\n\n", "two", " three"], fault=[Stall(after=4), Slow(0.1, after=4)])
    drawn_early: list[str] = []

    def go_on() -> None:
        wait_until(lambda: "two" in screen.text, SECONDS)
        drawn_early.append(screen.text)
        gateway.release()

    releaser = when_stalled(gateway, go_on)
    assert screen.show("ask", "Hi") == 0
    releaser.join()
    [early] = drawn_early
    assert in_final_order(early, ["one", "two"])
    assert "three" not in early
    late = screen.text.removeprefix(early)
    assert "one" not in late
    assert "two three" in late


@pytest.mark.parametrize(("after", "seen"), [(3, "thinking, "), (7, "╭─ clock")])
def test_what_grows_is_drawn_as_far_as_it_may_be_seen(
    gateway: FakeGateway, screen: Screen, after: int, seen: str
) -> None:
    """A tool call is, before it is complete; thinking that is not wanted is not."""
    call = ToolCall("1", "clock", {"zone": "UTC"})
    gateway.reply("", thinking="Hm, well.", tool_calls=[call], fault=Stall(after=after))
    drawn_early: list[bool] = []

    def go_on() -> None:
        drawn_early.append(wait_until(lambda: seen in screen.text, SECONDS))
        gateway.release()

    releaser = when_stalled(gateway, go_on)
    assert screen.show("ask", "--no-thinking", "Hi") == 0
    releaser.join()
    assert drawn_early == [True]
    assert "Hm" not in screen.text


def test_json_is_not_drawn(gateway: FakeGateway, screen: Screen) -> None:
    """It is followed by what the turn took, for whoever watches."""
    gateway.reply("Hello")
    assert screen.show("ask", "--json", "Hi") == 0
    *events, last = screen.text.splitlines()
    assert all(event.startswith('{"type":') for event in events)
    assert "tokens in" in last


def test_an_answer_without_usage(gateway: FakeGateway, screen: Screen) -> None:
    """Nothing is made up for the last line."""
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    message |= {"stopReason": "stop"}
    gateway.events([{"type": "done", "reason": "stop", "message": message}])
    assert screen.show("ask", "Hi") == 0
    assert re.search(r"Hello\nno usage was reported, \d+\.\d s\n\Z", screen.text)


def test_a_failed_turn(gateway: FakeGateway, screen: Screen) -> None:
    """What there was stays, and there is no last line."""
    gateway.reply("So far", error_message="overloaded")
    assert screen.show("ask", "Hi") == 1
    assert screen.text.endswith("So far\npi-native: the turn failed: overloaded\n")


def test_a_turn_that_nobody_answers(gateway: FakeGateway, screen: Screen) -> None:
    """Retries are told, then the failure."""
    gateway.error(503, "a").error(503, "b").error(503, "c")
    assert screen.show("ask", "Hi") == 1
    assert "attempt 1 failed: a (HTTP 503); trying again in" in screen.text
    assert "attempt 2 failed: b (HTTP 503); trying again in" in screen.text
    assert screen.text.endswith("pi-native: c (HTTP 503)\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c(gateway: FakeGateway, screen: Screen) -> None:
    """What there is stays, hidden thinking stays hidden, and the gateway notices."""
    gateway.reply("Hello **there** world", thinking="Hm.", fault=Stall(after=7))

    drawn_early: list[bool] = []

    def press() -> None:
        drawn_early.append(wait_until(lambda: "Hello there" in screen.text, SECONDS))
        press_ctrl_c()

    presser = when_stalled(gateway, press)
    assert screen.show("ask", "--no-thinking", "Hi") == 130
    presser.join()
    assert drawn_early == [True]
    assert screen.text.rstrip().endswith("Hello there")
    assert "Hm." not in screen.text
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is shown again
    assert gateway.requests[0].client_gone.wait(SECONDS)


def test_a_terminal_that_goes_away(gateway: FakeGateway, screen: Screen) -> None:
    """Ends the turn: nobody is there to read it."""
    gateway.reply("Hello there, world", fault=Stall(after=4))
    leaver = when_stalled(gateway, lambda: setattr(screen, "lost", True))
    assert screen.show("ask", "Hi") == 1
    leaver.join()
    assert gateway.requests[0].client_gone.wait(SECONDS)


@pytest.mark.usefixtures("gateway")
def test_models(screen: Screen) -> None:
    """A table with a line below its headings."""
    assert screen.show("models", "small", "--context", "1000") == 0
    headings, line, row = lines = screen.text.splitlines()
    assert lines == [line.rstrip() for line in lines], "spaces would be copied along"
    assert headings.split() == ["ID", "NAME", "CONTEXT", "OUTPUT", "MODALITIES"]
    assert set(line) == {"─"}
    assert row.split() == ["acme/small", "small", "200,000", "32,768", "text,", "image"]


@pytest.mark.usefixtures("gateway")
def test_a_narrow_terminal(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a table has no room, each model is a list; its name can be copied whole."""
    monkeypatch.setenv("COLUMNS", "40")
    assert screen.show("models", "small") == 0
    assert screen.text.splitlines() == [
        "ID          acme/small",
        "NAME        small",
        "CONTEXT     200,000",
        "OUTPUT      32,768",
        "MODALITIES  text, image",
    ]


@pytest.mark.usefixtures("gateway")
def test_doctor(screen: Screen) -> None:
    """Two tables, drawn, and what to do next, folded between words."""
    assert screen.show("doctor", "-m", "acme/larg") == 1
    assert screen.text.count("─" * 30) >= 2
    assert re.search(r"model +unknown model +acme/larg is not among", screen.text)
    assert "\n\nnext: did you mean acme/large or acme/small?" in screen.text
    assert max(map(len, screen.text.splitlines())) <= 80


def test_usage(gateway: FakeGateway, screen: Screen) -> None:
    """A bar where the share is known."""
    gateway.usage_reports.append({"provider": "acme"})
    assert screen.show("usage") == 0
    fake, acme = screen.text.splitlines()[2:4]
    assert re.search(r"━+╺?━* +25%", fake)
    assert acme.split() == ["acme", "-", "-", "-", "-", "-"]


class TestConversations:
    """`ask --file`."""

    @pytest.fixture(autouse=True)
    def _run_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_goes_on_where_it_was(self, gateway: FakeGateway, screen: Screen) -> None:
        """The system prompt included, unless there is another one now."""
        for more in (["--system", "Be brief."], [], ["--system", "Be long."]):
            assert screen.show("ask", "--file", "chat.jsonl", *more, "Hi") == 0
        contexts = [request.context for request in gateway.requests]
        assert [len(context["messages"]) for context in contexts] == [1, 3, 5]
        assert [context["systemPrompt"] for context in contexts] == [
            ["Be brief."],
            ["Be brief."],
            ["Be long."],
        ]
        assert "tokens/s" in screen.text

    def test_a_turn_that_failed_is_not_kept(self, gateway: FakeGateway, screen: Screen) -> None:
        """There is nothing to go on from."""
        gateway.reply("So far", error_message="overloaded")
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 1
        assert not Path("chat.jsonl").exists()

    def test_a_file_that_cannot_be(self, gateway: FakeGateway, screen: Screen) -> None:
        """Is told before anything is asked, and paid for."""
        Path("folder").mkdir()
        Path("other.txt").write_text("Hello\n")
        assert screen.show("ask", "--file", "nowhere/chat.jsonl", "Hi") == 2
        assert screen.show("ask", "--file", "folder", "Hi") == 2
        assert screen.show("ask", "--file", "other.txt", "Hi") == 1
        first, second, third = screen.text.splitlines()
        assert first == (
            "pi-native: cannot keep a conversation in nowhere/chat.jsonl: there is no nowhere"
        )
        assert second.startswith("pi-native: cannot read folder: ")
        assert third.startswith("pi-native: other.txt, line 1: not JSON")
        assert gateway.requests == []

    def test_a_file_that_is_gone_in_the_end(self, gateway: FakeGateway, screen: Screen) -> None:
        """The answer is on the screen all the same."""
        Path("folder").mkdir()
        gateway.reply("Hello", fault=Stall(after=1))

        def remove() -> None:
            Path("folder").rmdir()
            gateway.release()

        remover = when_stalled(gateway, remove)
        assert screen.show("ask", "--file", "folder/chat.jsonl", "Hi") == 2
        remover.join()
        assert "Hello" in screen.text
        assert "the turn could not be kept in folder/chat.jsonl" in screen.text
