"""`pi-native` in a real terminal, as a user sees it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Slow, Stall

from .commands import SECONDS
from .terminal import NEEDS_TMUX, SHELLS, Terminal

pytestmark = [NEEDS_TMUX, pytest.mark.slow]

Open = Callable[..., Terminal]

DIM = "\x1b[2"
LAST_LINE = r"\d+ tokens in, \d+ out, \$[\d.]+, [\d.,]+ tokens/s, [\d.]+ s\n"

MARKDOWN = """\
# A title

Some **bold** words.

- one
- two

| colour | nm |
|---|---|
| blue | 450 |

```python
answer = 42
```
"""


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a terminal; it is closed at the end."""
    opened: list[Terminal] = []

    def open_one(**settings: Any) -> Terminal:
        opened.append(Terminal(tmp_path, **settings))
        return opened[-1]

    yield open_one
    for terminal in opened:
        with terminal:
            pass


@pytest.fixture
def terminal(gateway: FakeGateway, open_terminal: Open) -> Terminal:  # noqa: ARG001  (it is first)
    """Return a terminal of 80 columns, with the gateway in the environment of its shell."""
    return open_terminal()


class TestAsk:
    """An answer in the terminal."""

    def test_markdown_is_shown_while_it_arrives(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """The first part is shown before the rest arrives; the last line has tokens and cost."""
        gateway.reply([MARKDOWN[:50], MARKDOWN[50:]], fault=Stall(after=3))
        terminal.run("ask", "Hi")
        early = terminal.wait_for("one")
        assert "•" in early
        assert "Some bold words." in early
        assert "450" not in early

        gateway.release()

        seen = terminal.wait_for_exit()
        assert not re.search(r"[*#`|]", seen.partition("exit=")[0])
        assert re.search("blue +450", seen)
        assert "answer = 42" in seen
        assert re.search(LAST_LINE, seen)

    def test_thinking_is_dimmed_and_tool_calls_are_panels(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """Thinking and calls look different from the answer."""
        call = ToolCall("call_1", "search", {"query": "sky", "limit": 3})
        gateway.reply("I look it up.", thinking="Let me think.\nHm.", tool_calls=[call])
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit()
        assert re.search(r"╭─ search ─+╮\n│ \{ +│\n│   \"query\": \"sky\", │\n", seen)
        lines = terminal.screen(styles=True).splitlines()
        (thought,) = [line for line in lines if "Let me think." in line]
        (said,) = [line for line in lines if "I look it up." in line]
        assert DIM in thought
        assert DIM not in said

    def test_thinking_can_be_left_out(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """The terminal still shows that the model thinks."""
        gateway.reply("Done.", thinking="Let me think.", fault=Stall(after=3))
        terminal.run("ask", "--no-thinking", "Hi")
        terminal.wait_for(r"thinking, \d+\.\d s")
        gateway.release()
        seen = terminal.wait_for_exit()
        assert "Done." in seen
        assert "Let me think" not in seen

    def test_a_spinner_counts_the_seconds_until_the_first_word(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """The spinner disappears with the first word."""
        gateway.reply("Hello", fault=Stall(after=None))
        terminal.run("ask", "Hi")
        terminal.wait_for(r"waiting, 0\.\d s")
        terminal.wait_for(r"waiting, [1-9]\.\d s")
        gateway.wait_for_request(SECONDS).release()
        seen = terminal.wait_for_exit()
        assert "Hello" in seen
        assert "waiting" not in seen

    @pytest.mark.parametrize("lines", [6, 24])
    def test_a_long_answer_is_all_there(
        self, gateway: FakeGateway, open_terminal: Open, lines: int
    ) -> None:
        """Every line is there once and in order, also of a block longer than the terminal."""
        listing = "\n".join(f"line{n:03} = {n}" for n in range(100))
        prose = "\n\n".join(f"line{n:03}" for n in range(100, 150))
        gateway.reply(f"```python\n{listing}\n```\n\n{prose}", fault=Slow(0.001))
        terminal = open_terminal(lines=lines)
        terminal.run("ask", "Hi")
        terminal.wait_for_exit()
        found = re.findall(r"line\d+", terminal.everything())
        assert found == [f"line{n:03}" for n in range(150)]

    def test_ctrl_c_keeps_the_text(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """The exit code is 130, the gateway sees the cancel, and the cursor is visible."""
        gateway.reply("Hello **there**, world", fault=Stall(after=4))
        terminal.run("ask", "Hi")
        terminal.wait_for("Hello there")
        terminal.type("", "C-c")
        seen = terminal.wait_for_exit(130)
        assert "Hello there," in seen
        assert "Traceback" not in seen
        assert "tokens" not in seen
        assert gateway.requests[0].client_gone.wait(SECONDS)
        assert terminal._do("display-message", "-p", "#{cursor_flag}") == "1\n"

    def test_ctrl_c_before_the_first_word(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """Ctrl-C leaves no spinner."""
        gateway.reply("Hello", fault=Stall(after=None))
        terminal.run("ask", "Hi")
        terminal.wait_for(r"waiting, \d")
        terminal.type("", "C-c")
        assert "waiting" not in terminal.wait_for_exit(130)

    def test_a_failed_turn_keeps_its_text(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """The error is below the text."""
        gateway.reply("So far, so *good*", error_message="the account is closed")
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit(1)
        assert re.search(
            r"So far, so good\n+pi-native: the turn failed: the account is closed\n", seen
        )

    def test_a_retry_is_shown(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """A failed attempt is a line above the answer."""
        gateway.error(503, "try later").reply("Hello")
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit()
        assert re.search(r"pi-native: attempt 1 failed: try later \(HTTP 503\)", seen)
        assert seen.index("attempt 1") < seen.index("Hello")

    def test_an_answer_cannot_control_the_terminal(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """Control characters are replaced, however they are written, and addresses are shown."""
        evil = "a \x1b[31mred&#27;[31m &#x9b;31m \x1b]0;title\x07 [bank](http://evil.example/) end"
        call = ToolCall("call_1", "x\x1b[31m", {"a": "\x1b[31m\x9b31m"})
        gateway.reply(evil, thinking="\x1b[31mhm", tool_calls=[call])
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit()
        assert "bank (http://evil.example/)" in seen
        assert "\x1b[31m" not in terminal.screen(styles=True)

    def test_a_pipe_gets_plain_text(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """The Markdown is unchanged, also while a person watches stderr."""
        gateway.reply("Some **bold** words")
        # cat would write a part when it likes, and the line on stderr might come into the middle
        terminal.run("ask", "Hi", rest=" | sort")
        seen = terminal.wait_for_exit()
        assert "Some **bold** words\n" in seen
        assert "tokens in" in seen
        assert "tokens/s" not in seen

    @pytest.mark.parametrize("without", ["rich", "a capable terminal"])
    def test_plain_text_is_the_fallback(
        self, gateway: FakeGateway, terminal: Terminal, without: str
    ) -> None:
        """Without the extra, or without cursor movements, the text is shown as it is."""
        gateway.reply("Some **bold** words", thinking="hm")
        code = "import runpy, sys; sys.modules['rich'] = None; sys.argv[1:] = ['ask', 'Hi']\n"
        code += "runpy.run_module('pi_native', run_name='__main__')"
        command = shlex.join([sys.executable, "-c", code])
        if without != "rich":
            command = "TERM=dumb " + shlex.join([sys.executable, "-m", "pi_native", "ask", "Hi"])
        Path(os.environ["HOME"], "try.sh").write_text(command + "; echo exit=$? of 0")
        terminal.type(". ~/try.sh", "Enter")
        seen = terminal.wait_for_exit()
        assert "Some **bold** words\n" in seen
        assert "hm" not in seen

    def test_events_are_not_formatted(self, gateway: FakeGateway, open_terminal: Open) -> None:
        """Events are JSON on a terminal as well."""
        gateway.reply("Hello")
        terminal = open_terminal(columns=2000)
        terminal.run("ask", "--events", "Hi")
        seen = terminal.wait_for_exit()
        types = [json.loads(line)["type"] for line in seen.splitlines() if line.startswith("{")]
        assert types == ["start", "text_start", "text_delta", "text_end", "done"]

    @pytest.mark.parametrize("signal", ["TERM", "TSTP"])
    def test_a_signal_leaves_the_cursor_visible(
        self, gateway: FakeGateway, terminal: Terminal, signal: str
    ) -> None:
        """`timeout 60 pi-native ask` and Ctrl-Z return to a usable shell."""
        gateway.reply("Hello there, world", fault=Stall(after=4))
        terminal.run("ask", "Hi")
        terminal.wait_for("Hello there")
        if signal == "TSTP":
            terminal.type("", "C-z")
            terminal.wait_for("Stopped")
        else:
            terminal.terminate()
            terminal.wait_for_exit(143)
        assert terminal._do("display-message", "-p", "#{cursor_flag}") == "1\n"
        if signal == "TSTP":
            terminal.type("clear; fg", "Enter")
            gateway.release()
            terminal.wait_for("Hello there, world")

    @pytest.mark.parametrize("columns", [40, 120])
    def test_a_resize_loses_no_text(
        self, gateway: FakeGateway, terminal: Terminal, columns: int
    ) -> None:
        """Every word is on the screen afterwards, in order.

        tmux tells the new size late: a frame until then may leave a copy of its upper lines.
        """
        words = [f"word{n:03}" for n in range(60)]
        text = "first\n\n" + " ".join(words)
        gateway.reply([text[:300], text[300:]], fault=Stall(after=3))
        terminal.run("ask", "Hi")
        terminal.wait_for("word030")
        terminal.resize(columns)
        gateway.release()
        terminal.wait_for_exit()
        text = terminal.everything()
        places = [text.rfind(word) for word in words]
        assert -1 not in places
        assert places == sorted(places)

    def test_a_chat(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """Lines can be edited and recalled; Ctrl-C ends an answer, Ctrl-D the chat."""
        gateway.reply("Hello **you**.").reply("Never", fault=Stall(after=None)).reply("Again.")
        terminal.run("chat")
        terminal.wait_for("(?m)^>")
        terminal.type("Ho", "BSpace")
        terminal.type("i", "Enter")
        terminal.wait_for("(?s)Hello you..*\n>")
        terminal.type("slow", "Enter")
        terminal.wait_for("waiting")
        terminal.type("", "C-c")
        terminal.wait_for("(?s)cancelled.*\n>")
        terminal.type("", "Up", "Up", "Enter")
        terminal.wait_for("(?s)Again..*\n>")
        terminal.type("", "C-d")
        terminal.wait_for_exit()
        prompts = [request.context["messages"][-1]["content"] for request in gateway.requests]
        assert prompts == ["Hi", "slow", "Hi"]
        assert len(gateway.requests[2].context["messages"]) == 3

    def test_a_prompt_can_be_typed(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """Ctrl-D ends the prompt and sends it."""
        gateway.reply("Hello")
        terminal.run("ask")
        terminal.wait_for("Type your prompt; Ctrl-D")
        terminal.type("What is this?", "Enter", "C-d")
        assert "Hello" in terminal.wait_for_exit()
        assert gateway.requests[0].context["messages"][0]["content"] == "What is this?"

    def test_images_and_stdin_go_together(
        self, gateway: FakeGateway, terminal: Terminal, tmp_path: Path
    ) -> None:
        """A question in a pipe and a picture in a file are one prompt."""
        (tmp_path / "dot.gif").write_bytes(b"GIF89a...")
        gateway.reply("A dot.")
        terminal.run("ask", "--image", "dot.gif", "-", rest=" <<< 'What is it?'")
        assert "A dot." in terminal.wait_for_exit()
        text, image = gateway.requests[0].context["messages"][0]["content"]
        assert text["text"] == "What is it?"
        assert image["mimeType"] == "image/gif"

    def test_a_conversation_is_kept(
        self, gateway: FakeGateway, terminal: Terminal, tmp_path: Path
    ) -> None:
        """The second question is sent with the first one and its answer."""
        gateway.reply("I am a parrot.").reply("A parrot.")
        terminal.run("ask", "--file", "chat.jsonl", "Who are you?")
        terminal.wait_for_exit()
        terminal.run("ask", "--file", "chat.jsonl", "Who?")
        assert "A parrot." in terminal.wait_for_exit()
        sent = gateway.requests[1].context["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "user"]
        lines = (tmp_path / "chat.jsonl").read_text().splitlines()
        assert [json.loads(line)["role"] for line in lines] == ["user", "assistant"] * 2

    @pytest.mark.usefixtures("gateway")
    def test_the_demo_is_formatted(self, terminal: Terminal) -> None:
        """The last line is that of any answer."""
        terminal.run("demo")
        seen = terminal.wait_for_exit()
        assert "These words arrive one by one" in seen
        assert re.search(LAST_LINE, seen)


@pytest.mark.usefixtures("gateway")
class TestQueries:
    """`models`, `usage`, `health` and `doctor`."""

    def test_models_are_a_table(self, terminal: Terminal) -> None:
        """The table has context length and modalities."""
        terminal.run("models")
        seen = terminal.wait_for_exit()
        assert re.search(r"ID +NAME +CONTEXT +OUTPUT +MODALITIES", seen)
        assert re.search(r"acme/small +small +200,000 +32,768 +text, image", seen)
        assert "other/tiny" in seen

    def test_models_can_be_filtered(self, terminal: Terminal) -> None:
        """Filters are words of the name, modalities and context."""
        terminal.run("models", "ACME", "--input", "image", "--context", "200000")
        seen = terminal.wait_for_exit()
        assert "acme/small" in seen
        assert "other/tiny" not in seen
        terminal.run("models", "--input", "audio")
        assert "no such models, among 3 in all" in terminal.wait_for_exit()

    def test_a_narrow_terminal(self, open_terminal: Open) -> None:
        """Lists replace the tables."""
        terminal = open_terminal(columns=40, lines=60)
        terminal.run("models", "small")
        assert "ID          acme/small\n" in terminal.wait_for_exit()
        terminal.run("doctor")
        seen = terminal.wait_for_exit()
        assert "SETTING  api key\nVALUE    set\nFROM     PI_NATIVE_API_KEY\n" in seen

    def test_usage_has_bars(self, terminal: Terminal) -> None:
        """A bar is as long as the used share."""
        terminal.run("usage")
        seen = terminal.wait_for_exit()
        assert re.search(r"fake +parrot\S* +5 Hour +━+╺?━* +25%", seen)

    def test_health(self, terminal: Terminal) -> None:
        """The answer is one line."""
        terminal.run("health")
        assert "ok, version 18.2.3\n" in terminal.wait_for_exit()

    def test_doctor(self, terminal: Terminal) -> None:
        """The report says what is wrong, and what to do next."""
        terminal.run("doctor", "-m", "acme/smal")
        seen = terminal.wait_for_exit(1)
        assert re.search(r"model +unknown model +acme/smal is not among the 3", seen)
        assert "next: did you mean acme/small" in seen


@pytest.mark.parametrize("shell", SHELLS)
class TestCompletion:
    """The Tab key in each shell."""

    @pytest.fixture
    def terminal(
        self,
        shell: str,
        gateway: FakeGateway,  # noqa: ARG002  (it is first)
        open_terminal: Open,
        tmp_path: Path,
    ) -> Terminal:
        """Return a terminal whose shell has loaded the script."""
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        (tmp_path / "picture.png").touch()
        terminal = open_terminal(shell=shell, columns=120)
        script = shlex.join([sys.executable, "-m", "pi_native", "completion", shell])
        load = {
            "bash": f'eval "$({script})"',
            "zsh": f'autoload -U compinit && compinit -u -D; eval "$({script})"',
            "fish": f"{script} | source",
        }
        terminal.type(f"{load[shell]}; clear; echo all set", "Enter")
        terminal.wait_for(r"^\s*all set\n")
        return terminal

    def test_tab_completes(self, terminal: Terminal, shell: str) -> None:
        """Commands, options, files, choices and the models of the gateway are completed."""
        for typed, completed in (
            ("pi-native doc", "pi-native doctor"),
            ("pi-native ask --syst", "pi-native ask --system"),
            ("pi-native ask --image pict", "pi-native ask --image picture.png"),
            ("pi-native completion zs", "pi-native completion zsh"),
            ("pi-native --base", "pi-native --base-url"),
            ("pi-native ask --reasoning xh", "pi-native ask --reasoning xhigh"),
            ("pi-native ask -m acme/sm", "pi-native ask -m acme/small"),
        ):
            terminal.type(typed, "Tab")
            if shell == "zsh" and completed.endswith("--system"):
                terminal.wait_for("the system prompt")
                terminal.type("", "Tab")  # the first one shows the description
            terminal.wait_for(completed)
            terminal.type("", "C-u")
        terminal.type("pi-native ", "Tab", "Tab")
        seen = terminal.wait_for("fake-gateway")
        assert {"ask", "models", "usage", "doctor", "demo", "completion"} <= set(seen.split())
