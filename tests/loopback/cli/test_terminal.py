"""`pi-native` in a real terminal, as whoever sits before it sees it."""

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

from .terminal import NEEDS_TMUX, SECONDS, SHELLS, Terminal

pytestmark = [NEEDS_TMUX, pytest.mark.slow]

Open = Callable[..., Terminal]

MODEL = "acme/large"
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
def gateway(named: Callable[..., FakeGateway]) -> Iterator[FakeGateway]:
    """A started gateway, which the environment names."""
    with FakeGateway(models=[MODEL, "acme/small", "other/tiny"]) as gateway:
        yield named(gateway, MODEL)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    """Open a terminal; it is closed in the end."""
    opened: list[Terminal] = []

    def open_one(**settings: Any) -> Terminal:
        opened.append(Terminal(tmp_path, **settings))
        return opened[-1]

    yield open_one
    for terminal in opened:
        with terminal:
            pass


@pytest.fixture
def terminal(gateway: FakeGateway, open_terminal: Open) -> Terminal:  # noqa: ARG001  (it comes first)
    """A terminal of the usual size, with a shell that knows the gateway."""
    return open_terminal()


class TestAsk:
    """An answer, drawn."""

    def test_markdown_is_drawn_while_it_comes(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """What has arrived is drawn before the rest has; the last line tells what it took."""
        gateway.reply([MARKDOWN[:50], MARKDOWN[50:]], fault=Stall(after=3))
        terminal.run("ask", "Hi")
        early = terminal.wait_for("one")
        assert "•" in early
        assert "Some bold words." in early
        assert "450" not in early

        gateway.release()

        seen = terminal.wait_for_exit()
        assert not re.search(r"[*#`|]", seen.partition("exit=")[0])
        assert "blue    450" in seen
        assert "answer = 42" in seen
        assert re.search(LAST_LINE, seen)

    def test_thinking_is_dimmed_and_tool_calls_are_boxed(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """Each can be told from what is said."""
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
        """That it is going on is still shown."""
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
        """Then it is gone."""
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
        """Once each and in order, also what was longer than the terminal while it grew."""
        listing = "\n".join(f"line{n:03} = {n}" for n in range(100))
        prose = "\n\n".join(f"line{n:03}" for n in range(100, 150))
        gateway.reply(f"```python\n{listing}\n```\n\n{prose}", fault=Slow(0.001))
        terminal = open_terminal(lines=lines)
        terminal.run("ask", "Hi")
        terminal.wait_for_exit()
        found = re.findall(r"line\d+", terminal.everything())
        assert found == [f"line{n:03}" for n in range(150)]

    def test_ctrl_c_keeps_what_there_is(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """It ends at once, with exit code 130; the gateway notices, and the cursor is back."""
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
        """Leaves no spinner behind."""
        gateway.reply("Hello", fault=Stall(after=None))
        terminal.run("ask", "Hi")
        terminal.wait_for(r"waiting, \d")
        terminal.type("", "C-c")
        assert "waiting" not in terminal.wait_for_exit(130)

    def test_a_failed_turn_keeps_its_text(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """The failure is told below it."""
        gateway.reply("So far, so *good*", error_message="overloaded")
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit(1)
        assert re.search(r"So far, so good\n+pi-native: the turn failed: overloaded\n", seen)

    def test_a_retry_is_told(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """Above the answer, in a line."""
        gateway.error(503, "try later").reply("Hello")
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit()
        assert re.search(r"pi-native: attempt 1 failed: try later \(HTTP 503\); trying again", seen)
        assert seen.index("attempt 1") < seen.index("Hello")

    def test_a_stranger_does_not_command_the_terminal(
        self, gateway: FakeGateway, terminal: Terminal
    ) -> None:
        """Control characters are shown, however they were written, and so are links' addresses."""
        evil = "a \x1b[31mred&#27;[31m &#x9b;31m \x1b]0;title\x07 [bank](http://evil.example/) end"
        call = ToolCall("call_1", "x\x1b[31m", {"a": "\x1b[31m\x9b31m"})
        gateway.reply(evil, thinking="\x1b[31mhm", tool_calls=[call])
        terminal.run("ask", "Hi")
        seen = terminal.wait_for_exit()
        assert "bank (http://evil.example/)" in seen
        assert "\x1b[31m" not in terminal.screen(styles=True)

    def test_a_pipe_gets_plain_text(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """As it was written, even though somebody watches."""
        gateway.reply("Some **bold** words")
        # cat would write a part when it likes, and the line on stderr might come into the middle
        terminal.run("ask", "Hi", rest=" | sort")
        seen = terminal.wait_for_exit()
        assert "Some **bold** words\n" in seen
        assert "tokens in" in seen
        assert "tokens/s" not in seen

    @pytest.mark.parametrize("without", ["rich", "a terminal that can draw"])
    def test_text_will_do(self, gateway: FakeGateway, terminal: Terminal, without: str) -> None:
        """Without the extra, or without cursor movements, the text comes as it is."""
        gateway.reply("Some **bold** words", thinking="hm")
        code = "import sys; sys.modules['rich'] = None\nfrom pi_native.__main__ import main\n"
        code += "sys.exit(main(['ask', 'Hi']))"
        command = shlex.join([sys.executable, "-c", code])
        if without != "rich":
            command = "TERM=dumb " + shlex.join([sys.executable, "-m", "pi_native", "ask", "Hi"])
        Path(os.environ["HOME"], "try.sh").write_text(command + "; echo exit=$? of 0")
        terminal.type(". ~/try.sh", "Enter")
        seen = terminal.wait_for_exit()
        assert "Some **bold** words\n" in seen
        assert "hm" not in seen

    def test_json_is_not_drawn(self, gateway: FakeGateway, open_terminal: Open) -> None:
        """Events are for programs, whoever looks at them."""
        gateway.reply("Hello")
        terminal = open_terminal(columns=2000)
        terminal.run("ask", "--json", "Hi")
        seen = terminal.wait_for_exit()
        types = [json.loads(line)["type"] for line in seen.splitlines() if line.startswith("{")]
        assert types == ["start", "text_start", "text_delta", "text_end", "done"]

    def test_a_prompt_can_be_typed(self, gateway: FakeGateway, terminal: Terminal) -> None:
        """Until Ctrl-D; then it is sent."""
        gateway.reply("Hello")
        terminal.run("ask")
        terminal.wait_for("Type your prompt; Ctrl-D")
        terminal.type("What is this?", "Enter", "C-d")
        assert "Hello" in terminal.wait_for_exit()
        assert gateway.requests[0].context["messages"][0]["content"] == "What is this?"

    def test_images_and_stdin_go_together(
        self, gateway: FakeGateway, terminal: Terminal, tmp_path: Path
    ) -> None:
        """A question from a pipe, about a picture in a file."""
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
        """The second question knows the first one and its answer."""
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
    def test_the_demo_is_drawn(self, terminal: Terminal) -> None:
        """With a last line like any other answer."""
        terminal.run("demo")
        seen = terminal.wait_for_exit()
        assert "These words come one by one" in seen
        assert re.search(LAST_LINE, seen)


@pytest.mark.usefixtures("gateway")
class TestPages:
    """What the gateway says about itself."""

    def test_models_are_a_table(self, terminal: Terminal) -> None:
        """With context length and modalities."""
        terminal.run("models")
        seen = terminal.wait_for_exit()
        assert re.search(r"ID +NAME +CONTEXT +OUTPUT +MODALITIES", seen)
        assert re.search(r"acme/large +large +200,000 +32,768 +text, image", seen)
        assert "other/tiny" in seen

    def test_models_can_be_filtered(self, terminal: Terminal) -> None:
        """By words in their names, what they take, and how much of it."""
        terminal.run("models", "ACME", "--input", "image", "--context", "200000")
        seen = terminal.wait_for_exit()
        assert "acme/small" in seen
        assert "other/tiny" not in seen
        terminal.run("models", "--input", "audio")
        assert "no such models, among 3 in all" in terminal.wait_for_exit()

    def test_a_narrow_terminal(self, open_terminal: Open) -> None:
        """Has lists in the place of tables."""
        terminal = open_terminal(columns=40, lines=60)
        terminal.run("models", "large")
        assert "ID          acme/large\n" in terminal.wait_for_exit()
        terminal.run("doctor")
        seen = terminal.wait_for_exit()
        assert "SETTING  api key\nVALUE    set\nFROM     PI_NATIVE_API_KEY\n" in seen

    def test_usage_is_bars(self, terminal: Terminal) -> None:
        """As long as the share that is used."""
        terminal.run("usage")
        seen = terminal.wait_for_exit()
        assert re.search(r"fake +parrot\S* +5 Hour +━+╺?━* +25%", seen)

    def test_health(self, terminal: Terminal) -> None:
        """A line will do."""
        terminal.run("health")
        assert "ok, version 18.2.3\n" in terminal.wait_for_exit()

    def test_doctor(self, terminal: Terminal) -> None:
        """What is wrong, and what to do next."""
        terminal.run("doctor", "-m", "acme/larg")
        seen = terminal.wait_for_exit(1)
        assert re.search(r"model +unknown model +acme/larg is not among the 3", seen)
        assert "next: did you mean acme/large" in seen


@pytest.mark.parametrize("shell", SHELLS)
class TestCompletion:
    """Tab, in each shell."""

    @pytest.fixture
    def terminal(self, shell: str, open_terminal: Open, tmp_path: Path) -> Terminal:
        """A terminal whose shell knows the script."""
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        (tmp_path / "picture.png").touch()
        terminal = open_terminal(shell=shell, columns=120)
        script = shlex.join([sys.executable, "-m", "pi_native", "completion", shell])
        load = {
            "bash": f'eval "$({script})"',
            "zsh": f'autoload -U compinit && compinit -D; eval "$({script})"',
            "fish": f"{script} | source",
        }
        terminal.type(f"{load[shell]}; clear; echo all set", "Enter")
        terminal.wait_for(r"^\s*all set\n")
        return terminal

    def test_tab_completes(self, terminal: Terminal) -> None:
        """Commands, their options, files where one is wanted, and the words that are known."""
        for typed, completed in (
            ("pi-native doc", "pi-native doctor"),
            ("pi-native ask --syst", "pi-native ask --system"),
            ("pi-native ask --image pict", "pi-native ask --image picture.png"),
            ("pi-native completion zs", "pi-native completion zsh"),
            ("pi-native --base", "pi-native --base-url"),
        ):
            terminal.type(typed, "Tab")
            terminal.wait_for(completed)
            terminal.type("", "C-u")
        terminal.type("pi-native ", "Tab", "Tab")
        seen = terminal.wait_for("fake-gateway")
        assert {"ask", "models", "usage", "doctor", "demo", "completion"} <= set(seen.split())
