"""Arguments, prompts and answers of the command line, without a gateway."""

from __future__ import annotations

import argparse
import errno
import io
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from pi_native._cli.inputs import read_prompt, turn_options
from pi_native._cli.parser import build_parser, parse

MODEL = "acme/large"

Call = Callable[..., tuple[int, str, str]]


class Stdin(io.TextIOWrapper):
    """A stdin with these bytes."""

    def __init__(self, data: bytes, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(data), encoding)


class Interrupted(io.StringIO):
    """A stdin that is read while the user presses Ctrl-C."""

    def read(self, _size: int | None = -1) -> str:
        """Raise the exception of Ctrl-C."""
        raise KeyboardInterrupt


class Broken(io.StringIO):
    """A stdout that fails with this error."""

    def __init__(self, reason: OSError) -> None:
        super().__init__()
        self.reason = reason

    def flush(self) -> None:
        """Raise the error."""
        raise self.reason


class Terminal(io.StringIO):
    """A stand-in for a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture(autouse=True)
def _no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process; return its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        return main(arguments), *capsys.readouterr()

    return call


def parsed(*arguments: str) -> argparse.Namespace:
    """Return the parsed arguments."""
    return parse(build_parser(), arguments)


class TestArguments:
    """The arguments that the parser accepts."""

    @pytest.mark.parametrize("option", ["--timeout", "--port", "--max-tokens", "--temperature"])
    @pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x", "1e9", "65536"])
    def test_numbers_are_checked(self, call: Call, option: str, value: str) -> None:
        """Each number has its own range."""
        good = {
            "--timeout": {"1e9", "65536"},
            "--port": {"0"},
            "--max-tokens": {"65536"},
            "--temperature": {"0", "1e9", "65536"},
        }[option]
        command = "fake-gateway" if option == "--port" else "ask"
        code, _, err = call(command, option, value, "--nonsense")
        assert code == 2
        assert ("unrecognized arguments: --nonsense" in err) == (value in good)

    @pytest.mark.parametrize(
        "arguments",
        [["-c", "--file", "x"], ["--json", "--events"], ["--reasoning", "extreme"], ["-o", "x"]],
    )
    def test_impossible_arguments_are_wrong_usage(self, call: Call, arguments: list[str]) -> None:
        """The usage is that of the command, and the exit code 2."""
        code, out, err = call("ask", "Hi", *arguments)
        assert (code, out) == (2, "")
        assert "usage: pi-native ask" in err

    def test_an_unknown_option_shows_the_usage_of_its_command(self, call: Call) -> None:
        """The message names the option, not the words beside it."""
        code, _, err = call("ask", "hi", "--nonsense", "there")
        assert code == 2
        assert "usage: pi-native ask" in err
        assert err.endswith("error: unrecognized arguments: --nonsense\n")

    @pytest.mark.parametrize("option", ["--version", "--help"])
    def test_help_is_output(self, call: Call, option: str) -> None:
        """Help and version go to stdout, with exit code 0."""
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
            ("ask", ["--thinking", "default: only where it is dimmed", "git diff |"]),
            ("chat", ["Ctrl-D leaves", "--file", "-c, --continue"]),
            ("models", ["image;", "PI_NATIVE_BASE_URL", "names", "--kind", "--ids"]),
            ("health", ["version"]),
            ("usage", ["limits"]),
            ("doctor", ["gateway, key or model", "PI_NATIVE_MODEL"]),
            ("demo", ["needs no gateway"]),
            ("fake-gateway", ["--port", "Ctrl-C"]),
            ("completion", ["bash, zsh or fish", "~/.zshrc", "| source"]),
        ],
    )
    def test_every_command_has_help(self, call: Call, command: str, words: list[str]) -> None:
        """The help says what the command does, and where else its settings come from."""
        code, out, err = call(*command.split(), "--help")
        assert (code, err) == (0, "")
        for word in words:
            assert word in " ".join(out.split())

    def test_every_argument_has_help(self) -> None:
        """No argument of any command is without a description."""
        whole = build_parser()
        (group,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
        for parser in [whole, *group.choices.values()]:
            actions = [action for action in parser._actions if action is not group]
            assert [action.dest for action in actions if not action.help] == []

    def test_no_command_prints_the_help_to_stderr(self, call: Call) -> None:
        """A call without a command is wrong usage."""
        code, out, err = call()
        assert (code, out) == (2, "")
        assert "PI_NATIVE_BASE_URL" in err

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_coloured_help_keeps_its_escape_sequences(
        self, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
    ) -> None:
        """Help, which Python 3.14 colours, is plain when stderr is no terminal."""

        def format_help(parser: argparse.ArgumentParser) -> str:
            return "\x1b[1;34musage:\x1b[0m\n" if parser.color else "usage:\n"  # type: ignore[attr-defined,unused-ignore]

        monkeypatch.setattr(argparse.ArgumentParser, "color", True, raising=False)
        monkeypatch.setattr(argparse.ArgumentParser, "format_help", format_help)
        err = Terminal() if is_terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", err)
        assert main([]) == 2
        assert err.getvalue() == ("\x1b[1;34musage:\x1b[0m\n" if is_terminal else "usage:\n")

    def test_no_model_names_the_ways_to_give_one(self, call: Call) -> None:
        """The error comes before the user has to type a prompt."""
        code, _, err = call("ask")
        assert code == 2
        assert err.startswith("pi-native: no model given")
        assert "`pi-native models`" in err

    @pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", b"a\nb"])
    def test_a_useless_key_file(self, call: Call, tmp_path: Path, content: bytes | None) -> None:
        """A key file without a key is an error that does not show its content."""
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
        code, out, err = call("--api-key-file", str(file), "ask", "Hi", "-m", MODEL)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "key" in err
        assert "a b" not in err

    def test_an_unknown_home_folder(self, call: Call) -> None:
        """A key file in the home of an unknown user cannot be read."""
        code, _, err = call("models", "--api-key-file", "~no-user-of-this-name/key")
        assert code == 2
        assert "cannot read the key file" in err

    def test_options_of_a_turn(self) -> None:
        """`-o` takes JSON or text under a name in snake_case; its own options are stronger."""
        args = parsed(
            *("ask", "-o", "top_p=0.5", "-o", "service-tier=flex", "-o", 'stop_sequences=["END"]'),
            *(
                "-o",
                "max_tokens=1",
                "--max-tokens",
                "7",
                "--temperature",
                "0",
                "--reasoning",
                "low",
            ),
        )
        assert turn_options(args) == {
            "top_p": 0.5,
            "service_tier": "flex",
            "stop_sequences": ["END"],
            "max_tokens": 7,
            "temperature": 0.0,
            "reasoning": "low",
        }

    def test_an_unknown_option_of_a_turn_is_wrong_usage(self, call: Call) -> None:
        """The error names the option."""
        code, _, err = call("ask", "Hi", "-m", MODEL, "-o", "max_token=5")
        assert code == 2
        assert "max_token" in err
        assert err.count("\n") == 1


class TestPrompt:
    """The prompt: words, stdin and images."""

    def prompt(self, *arguments: str, stdin: Any = None) -> tuple[str, str]:
        """Return the text of the prompt, and the warnings about it."""
        err = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            message = read_prompt(parsed("ask", *arguments), Console(None, err))
        assert isinstance(message.content, str)
        return message.content, err.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "stdin", "text"),
        [
            (["Hi"], None, "Hi"),
            (["hi", "there"], None, "hi there"),
            (["hi", "--plain", "there", "-m", "x", "you"], None, "hi there you"),
            ([], b"two\nlines\n", "two\nlines"),
            (["-"], b"two\nlines\n", "two\nlines"),
            (["Review this"], b"diff\n", "Review this\n\ndiff"),
            (["Review this", "-"], b"diff", "Review this\n\ndiff"),
            (["Hi"], b"", "Hi"),
            (["Hi"], b" \n", "Hi"),
            (["--", "--json"], None, "--json"),
        ],
    )
    def test_words_and_stdin(self, arguments: list[str], stdin: bytes | None, text: str) -> None:
        """Words are one prompt; stdin is the prompt without words, else it follows them."""
        given = None if stdin is None else Stdin(stdin)
        assert self.prompt(*arguments, stdin=given) == (text, "")

    def test_a_terminal_is_not_read_after_words(self) -> None:
        """With words the user is not asked to type more."""
        assert self.prompt("Hi", stdin=Terminal("more")) == ("Hi", "")

    @pytest.mark.skipif(os.name == "nt", reason="Windows cannot wait for a pipe")
    def test_a_silent_pipe_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A user whose stdin stays open learns why nothing happens."""
        monkeypatch.setattr("pi_native._cli.inputs._SECONDS_UNTIL_NOTE", 0.01)
        reader, writer = os.pipe()
        err = io.StringIO()

        def close_with_text(text: str) -> int:
            os.write(writer, b"more")
            os.close(writer)
            return err.write(text)

        monkeypatch.setattr(Console, "problem", lambda _console, text: close_with_text(text))
        with open(reader, encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            message = read_prompt(parsed("ask", "Hi"), Console(None, None))
        assert message.content == "Hi\n\nmore"
        assert err.getvalue().startswith("waiting for text on stdin")

    @pytest.mark.parametrize("prompt", ["", " \n"])
    def test_an_empty_prompt_is_wrong_usage(self, call: Call, prompt: str) -> None:
        """Nothing is sent."""
        assert call("ask", "-m", MODEL, prompt) == (2, "", "pi-native: the prompt is empty\n")

    def test_a_closed_stdin_is_empty(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process may be started without stdin."""
        monkeypatch.setattr(sys, "stdin", None)
        assert call("ask", "-m", MODEL) == (2, "", "pi-native: the prompt is empty\n")

    def test_a_user_at_a_terminal_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A note says that the prompt is awaited, and how to end it."""
        err = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal("Hi"))
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["ask", "-m", "/no-provider"]) == 2
        assert err.getvalue().startswith("Type your prompt; Ctrl-D")

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"\xef\xbb\xbfHi\r\nyou\r\n", "Hi\nyou"),
            ("\ufeffHé".encode("utf-16-le"), "Hé"),
            ("\ufeffHé".encode("utf-16-be"), "Hé"),
            ("a \ufffd b".encode(), "a \ufffd b"),
        ],
    )
    def test_a_byte_order_mark_is_not_part_of_the_prompt(self, data: bytes, text: str) -> None:
        """The mark also tells the encoding. U+FFFD that is in the input needs no warning."""
        assert self.prompt(stdin=Stdin(data)) == (text, "")

    @pytest.mark.parametrize(
        ("arguments", "stdin"), [(["caf\udce9"], b""), (["-"], b"caf\xe9"), ([], b"caf\xe9")]
    )
    def test_invalid_bytes_are_replaced_with_a_warning(
        self, arguments: list[str], stdin: bytes
    ) -> None:
        """An argument and a pipe are treated alike."""
        text, warning = self.prompt(*arguments, stdin=Stdin(stdin))
        assert text == "caf\ufffd"
        assert warning.startswith("pi-native: the prompt is not all valid utf-8")
        assert warning.count("\n") == 1

    @pytest.mark.parametrize("content", [None, b"", b"%PDF-1.7"])
    def test_a_file_without_an_image(
        self, call: Call, tmp_path: Path, content: bytes | None
    ) -> None:
        """A missing, empty or other file is an error with its name."""
        file = tmp_path / "picture.png"
        if content is not None:
            file.write_bytes(content)
        code, _, err = call("ask", "-m", MODEL, "Hi", "--image", str(file))
        assert code == 2
        assert str(file) in err


class TestAnswer:
    """A turn as text."""

    def show(self, *events: TextDeltaEvent | DoneEvent | ImageEndEvent) -> str:
        """Return what stdout gets of a turn."""
        out = io.StringIO()
        stream = AssistantMessageEventStream()
        for event in events:
            stream.push(event)
        show_text(stream, Console(out, None))
        return out.getvalue()

    def test_deltas_are_the_text(self) -> None:
        """The finished message does not repeat them, and a delta may be missing."""
        message = AssistantMessage([TextContent("Hello")])
        deltas = [TextDeltaEvent(0, delta) for delta in ("Hel", None, "", "lo")]  # type: ignore[arg-type]
        assert self.show(*deltas, DoneEvent("stop", message)) == "Hello\n"

    def test_a_text_without_deltas_is_shown_at_the_end(self) -> None:
        """The protocol does not promise a delta for every text."""
        message = AssistantMessage([TextContent("Hello")])
        assert self.show(DoneEvent("stop", message)) == "Hello\n"

    def test_no_text_is_no_line(self) -> None:
        """An answer may be empty."""
        assert self.show(DoneEvent("stop", AssistantMessage())) == ""

    def test_a_tool_call_is_noted(self) -> None:
        """The tool and its arguments are on stderr, without control characters."""
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
    def test_halves_of_a_character_are_joined(self, pieces: list[str], text: str) -> None:
        """A half without its other half is U+FFFD."""
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
    def test_the_summary_names_tokens_and_cost(self, usage: Usage, words: str) -> None:
        """A gateway may report no usage."""
        assert summary(AssistantMessage(usage=usage)) == words


class TestEnds:
    """Exit codes and signals."""

    def test_an_interrupt(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C is exit code 130 without a traceback."""
        monkeypatch.setattr(sys, "stdin", Interrupted())
        assert call("ask", "-m", MODEL) == (130, "", "")

    def test_a_second_interrupt_ends_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default action is restored, because Python may be interrupted in its shutdown."""
        monkeypatch.setattr(sys, "argv", ["pi-native", "ask", "-m", MODEL])
        monkeypatch.setattr(sys, "stdin", Interrupted())
        before = signal.getsignal(signal.SIGINT)
        try:
            assert main() == 130
            assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        finally:
            signal.signal(signal.SIGINT, before)

    @pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN])
    def test_the_action_of_sigterm_is_restored(
        self, monkeypatch: pytest.MonkeyPatch, before: signal.Handlers
    ) -> None:
        """SIGTERM that is ignored stays ignored."""
        monkeypatch.setattr(sys, "argv", ["pi-native", "--version"])
        original = signal.signal(signal.SIGTERM, before)
        try:
            assert main() == 0
            assert signal.getsignal(signal.SIGTERM) == before
        finally:
            signal.signal(signal.SIGTERM, original)

    def test_a_closed_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A reader that has closed stdout ends the program with the code of SIGPIPE."""
        monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
        assert main(["--version"]) == 141

    def test_a_full_disk(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any other failure of stdout is reported."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
