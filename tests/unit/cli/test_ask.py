"""The command line's arguments, prompts, images and answers, without a gateway."""

from __future__ import annotations

import argparse
import errno
import io
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pi_native
from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    Cost,
    DoneEvent,
    ImageEndEvent,
    TextContent,
    TextDeltaEvent,
    ToolCall,
    Usage,
    __version__,
)
from pi_native._cli import main
from pi_native._cli.ask import WholeCharacters, show_text, summary
from pi_native._cli.console import Console
from pi_native._cli.parser import build_parser

MODEL = "acme/large"

Call = Callable[..., tuple[int, str, str]]


class Stdin(io.TextIOWrapper):
    """A stdin that holds these bytes, in UTF-8 if they are any."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), "utf-8")


class Impatient(io.StringIO):
    """A stdin at which somebody presses Ctrl-C."""

    def read(self, _size: int | None = -1) -> str:
        """Do so."""
        raise KeyboardInterrupt


class Broken(io.StringIO):
    """A stdout that takes nothing, for this reason."""

    def __init__(self, reason: OSError) -> None:
        super().__init__()
        self.reason = reason

    def flush(self) -> None:
        """Say so."""
        raise self.reason


class Terminal(io.StringIO):
    """A stand-in for a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process; returns its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        return main(arguments), *capsys.readouterr()

    return call


class TestArguments:
    """What argparse and `ask` make of them."""

    @pytest.mark.parametrize("option", ["--timeout", "--port"])
    @pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x", "1e9", "65536"])
    def test_numbers_are_checked(self, call: Call, option: str, value: str) -> None:
        """Each has its own range."""
        good = {"--timeout": {"1e9", "65536"}, "--port": {"0"}}[option]
        command = "ask" if option == "--timeout" else "fake-gateway"
        code, _, err = call(command, option, value, "--nonsense")
        assert code == 2
        assert ("unrecognized arguments: --nonsense" in err) == (value in good)

    @pytest.mark.parametrize("option", ["--version", "--help"])
    def test_help_is_an_answer(self, call: Call, option: str) -> None:
        """It goes to stdout, and nothing is wrong."""
        code, out, err = call(option)
        assert (code, err) == (0, "")
        assert out.startswith((f"pi-native {__version__}\n", "usage: pi-native "))

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("", ["PI_NATIVE_BASE_URL", "~/.omp/auth-gateway.token", "PI_NATIVE_LOG", "130"]),
            (
                "ask",
                ["PI_NATIVE_MODEL", "stdin", "PI_NATIVE_API_KEY", "conversation", "send an image"],
            ),
            ("models", ["image;", "PI_NATIVE_BASE_URL", "names"]),
            ("health", ["version"]),
            ("usage", ["limits"]),
            ("doctor", ["gateway, key or model", "PI_NATIVE_MODEL"]),
            ("demo", ["needs no gateway"]),
            ("fake-gateway", ["--port", "Ctrl-C"]),
            ("completion", ["bash, zsh or fish", "~/.zshrc", "| source"]),
        ],
    )
    def test_every_command_has_help(self, call: Call, command: str, words: list[str]) -> None:
        """It says what the command does, and where else its settings come from."""
        code, out, err = call(*command.split(), "--help")
        assert (code, err) == (0, "")
        for word in words:
            assert word in " ".join(out.split())

    def test_nothing_that_can_be_given_is_left_unexplained(self) -> None:
        """Every argument of every command has words of its own in the help."""
        whole = build_parser()
        (group,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
        for parser in [whole, *group.choices.values()]:
            actions = [action for action in parser._actions if action is not group]
            assert [action.dest for action in actions if not action.help] == []

    def test_no_command_gets_the_help_as_a_complaint(self, call: Call) -> None:
        """On stderr, with the exit code of a mistake."""
        code, out, err = call()
        assert (code, out) == (2, "")
        assert "PI_NATIVE_BASE_URL" in err

    def test_no_model_says_how_to_find_one(self, call: Call) -> None:
        """Before anybody has to type a prompt."""
        code, _, err = call("ask")
        assert code == 2
        assert err.startswith("pi-native: no model given")
        assert "`pi-native models`" in err

    @pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", b"a\nb"])
    def test_a_useless_key_file(self, call: Call, tmp_path: Path, content: bytes | None) -> None:
        """Missing, empty, not a text, not a key: told, without showing what it holds."""
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
        code, out, err = call("--api-key-file", str(file), "ask", "Hi", "-m", MODEL)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "key" in err
        assert "a b" not in err

    def test_a_home_that_is_unknown(self, call: Call) -> None:
        """A key file in it cannot be read."""
        code, _, err = call("models", "--api-key-file", "~nobody-of-this-name/key")
        assert code == 2
        assert "cannot read the key file" in err


class TestPrompt:
    """What can be asked."""

    @pytest.mark.parametrize("prompt", ["", " \n"])
    def test_an_empty_prompt_is_a_mistake(self, call: Call, prompt: str) -> None:
        """Nothing is sent."""
        assert call("ask", "-m", MODEL, prompt) == (2, "", "pi-native: the prompt is empty\n")

    def test_a_closed_stdin_is_empty(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process may be started without one."""
        monkeypatch.setattr(sys, "stdin", None)
        assert call("ask", "-m", MODEL) == (2, "", "pi-native: the prompt is empty\n")

    def test_somebody_at_a_terminal_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """That it is their turn to type."""
        err = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal("Hi"))
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["ask", "-m", "/no-provider"]) == 2
        assert err.getvalue().startswith("Type your prompt; Ctrl-D")

    def test_strange_bytes_are_no_reason_to_give_up(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The prompt is sent as well as it can be read, which is worth a remark."""
        with Stdin(b"caf\xe9") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code, _, err = call("ask", "-m", "/no-provider")
        assert code == 2
        assert err.startswith("pi-native: the prompt is not all valid utf-8")

    @pytest.mark.parametrize("content", [None, b"", b"%PDF-1.7"])
    def test_what_is_no_image(self, call: Call, tmp_path: Path, content: bytes | None) -> None:
        """Missing, empty or something else: told by name."""
        file = tmp_path / "picture.png"
        if content is not None:
            file.write_bytes(content)
        code, _, err = call("ask", "-m", MODEL, "Hi", "--image", str(file))
        assert code == 2
        assert str(file) in err


class TestAnswer:
    """How a turn is shown."""

    def show(self, *events: TextDeltaEvent | DoneEvent | ImageEndEvent) -> str:
        """What stdout shows of a turn."""
        out = io.StringIO()
        stream = AssistantMessageEventStream()
        for event in events:
            stream.push(event)
        show_text(stream, Console(out, None))
        return out.getvalue()

    def test_deltas_are_the_text(self) -> None:
        """The finished message does not say it again, and a delta may be left out."""
        message = AssistantMessage([TextContent("Hello")])
        deltas = [TextDeltaEvent(0, delta) for delta in ("Hel", None, "", "lo")]  # type: ignore[arg-type]
        assert self.show(*deltas, DoneEvent("stop", message)) == "Hello\n"

    def test_a_text_without_deltas_is_shown_at_the_end(self) -> None:
        """Nothing in the protocol promises them."""
        message = AssistantMessage([TextContent("Hello")])
        assert self.show(DoneEvent("stop", message)) == "Hello\n"

    def test_no_text_is_no_line(self) -> None:
        """An answer may be empty."""
        assert self.show(DoneEvent("stop", AssistantMessage())) == ""

    def test_a_tool_call_is_not_passed_over(self) -> None:
        """On stderr, with its arguments: without a text it is all there is."""
        err = io.StringIO()
        stream = AssistantMessageEventStream()
        calls = [
            ToolCall("1", "clock", {"zone": "UTC"}),
            ToolCall("2", "a\x1b\nb", {"c": "\udc00"}),
        ]
        stream.push(DoneEvent("toolUse", AssistantMessage([*calls])))
        show_text(stream, Console(io.StringIO(), err))
        assert err.getvalue().splitlines() == [
            'pi-native: tool call clock {"zone": "UTC"}',
            'pi-native: tool call a\ufffd b {"c": "\ufffd"}',
        ]

    @pytest.mark.parametrize(
        ("pieces", "text"),
        [
            (["a\ud83d", "\ude00b"], "a😀b"),
            (["\ud83d", "", "\ude00"], "😀"),
            (["\ud83d", "a"], "\ufffda"),
            (["a\udc00", "b\ud83d"], "a\ufffdb\ufffd"),
        ],
    )
    def test_characters_cut_in_two_are_put_together(self, pieces: list[str], text: str) -> None:
        """Halves that stay alone are shown as such."""
        written: list[str] = []
        whole = WholeCharacters(written.append)
        for piece in pieces:
            whole.write(piece)
        whole.end()
        assert "".join(written) == text

    @pytest.mark.parametrize(
        ("usage", "words"),
        [
            (Usage(), "0 tokens in, 0 out"),
            (Usage(input=1234, output=5, cost=Cost(total=1.5)), "1,234 tokens in, 5 out, $1.5"),
            (
                Usage(input=1, cache_read=2000, output=3, cost=Cost(total=0.00012)),
                "1 tokens in, 2,000 from cache, 3 out, $0.00012",
            ),
            (None, "no usage was reported"),
        ],
    )
    def test_the_summary_names_what_was_spent(self, usage: Usage, words: str) -> None:
        """As far as the gateway says it."""
        assert summary(AssistantMessage(usage=usage)) == words


class TestEnds:
    """Ways out."""

    def test_an_interrupt(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C is exit code 130, and no traceback."""
        monkeypatch.setattr(sys, "stdin", Impatient())
        assert call("ask", "-m", MODEL) == (130, "", "")

    def test_a_second_interrupt_finds_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a process of its own, Python may be interrupted while it shuts down."""
        monkeypatch.setattr(sys, "argv", ["pi-native", "ask", "-m", MODEL])
        monkeypatch.setattr(sys, "stdin", Impatient())
        before = signal.getsignal(signal.SIGINT)
        try:
            assert main() == 130
            assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        finally:
            signal.signal(signal.SIGINT, before)

    def test_a_reader_that_has_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A quiet end, with the code that a shell gives to such a one."""
        monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
        assert main(["--version"]) == 141

    def test_a_disk_that_is_full(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not a quiet end: somebody has to know."""
        full = OSError(errno.ENOSPC, "No space left on device")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Broken(full))
            assert main(["--version"]) == 1
        assert call("nonsense")[2].startswith(
            "pi-native: cannot write to stdout: No space left on device\n"
        )

    def test_the_module_is_a_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`python -m pi_native` ends with the exit code."""
        monkeypatch.setattr(sys, "argv", ["x", "nonsense"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(Path(pi_native.__file__).with_name("__main__.py")), None, "__main__")
        assert ended.value.code == 2
