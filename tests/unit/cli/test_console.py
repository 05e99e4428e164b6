"""The command line's writing: terminals, pipes, and streams that take no more."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from pi_native._cli.console import Console, OutputLostError, Pen, one_line


class Terminal(io.StringIO):
    """A stand-in for a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class Broken(io.StringIO):
    """A stream that nothing can be written to."""

    def write(self, _text: str) -> int:
        """Fail, as a full disk does."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def _styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Where to read from a pipe, and the stream that writes into it."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as writer:
        yield reader.fileno(), writer


def fill(descriptor: int) -> None:
    """Write into a pipe until there is no more room."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.set_blocking(descriptor, True)


class TestTurns:
    """Answer, thinking and remarks, on one terminal or two streams."""

    def test_pipes_get_what_was_said_and_no_more(self) -> None:
        """No escape sequence, and no newline that belongs to the other stream."""
        out, err = io.StringIO(), io.StringIO()
        console = Console(out, err)
        for piece in ("a", "", "b"):
            console.text(piece)
        console.thinking("hm")
        console.text("c")
        console.note("done")
        assert (out.getvalue(), err.getvalue()) == ("abc\n", "hm\ndone\n")
        assert not console.is_watched

    def test_a_terminal_shows_them_on_lines_of_their_own(self) -> None:
        """What goes to the other stream does not continue the line; thinking is dimmed."""
        screen = Terminal()
        console = Console(screen, screen)
        console.text("a")
        console.thinking("hm")
        console.text("b\n")
        console.aside("12 tokens")
        assert screen.getvalue() == "a\n\x1b[2mhm\x1b[0m\nb\n\x1b[2m12 tokens\x1b[0m\n"
        assert console.is_watched

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_styles_can_be_declined(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """The two usual ways to say so are listened to."""
        monkeypatch.setenv(name, value)
        screen = Terminal()
        Console(io.StringIO(), screen).thinking("hm")
        assert screen.getvalue() == "hm"

    def test_problems_are_one_line(self) -> None:
        """Whatever the text, which a stranger may have written."""
        err = io.StringIO()
        Console(None, err).problem("a\n\tb\x1b[31m \x07")
        assert err.getvalue() == "pi-native: a b\ufffd[31m \ufffd\n"

    def test_closed_streams_are_nobody(self) -> None:
        """A process may be started without stdout and stderr."""
        console = Console(None, None)
        console.text("a")
        console.thinking("b")
        console.note("c")
        console.flush()
        console.interrupted()
        console.abandon_output()


class TestCharacters:
    """Texts are a stranger's, and streams differ in what they can say."""

    def test_a_terminal_obeys_nobody_else(self) -> None:
        """Control characters are shown, but for tabs and the ends of lines."""
        screen = Terminal()
        Console(screen, None).text("a\x1b]0;title\x07\tb\r\n\x9b1m\x7f")
        assert screen.getvalue() == "a\ufffd]0;title\ufffd\tb\n\ufffd1m\ufffd"

    def test_a_pipe_gets_them_as_they_are(self) -> None:
        """Whoever reads it may need them."""
        out = io.StringIO()
        Console(out, None).text("a\x1b[1m\r\n")
        assert out.getvalue() == "a\x1b[1m\r\n"

    @pytest.mark.parametrize(
        ("encoding", "written"), [("utf-8", "é ? 😀"), ("latin-1", "é ? ?"), ("ascii", "? ? ?")]
    )
    def test_what_cannot_be_said_becomes_a_question_mark(self, encoding: str, written: str) -> None:
        """Half a surrogate pair everywhere, other characters where they are missing."""
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding) as out:
            Console(out, None).text("é \ud83d 😀")
            assert raw.getvalue().decode(encoding) == written

    def test_json_is_plain_ascii(self) -> None:
        """So that no encoding can harm it."""
        out = io.StringIO()
        Console(out, None).json({"a": "é\ud83d", "b": [1, None]})
        assert out.getvalue() == '{"a":"\\u00e9\\ud83d","b":[1,null]}\n'

    def test_one_line_keeps_the_words(self) -> None:
        """White space of any kind parts them."""
        assert one_line(" a\r\n b\x0bc\x00 ") == "a b c\ufffd"


class TestLostOutput:
    """Streams that take no more."""

    def test_stdout_says_why(self) -> None:
        """The system's own error is the cause."""
        with pytest.raises(OutputLostError) as caught:
            Console(Broken(), None).text("a")
        assert caught.value.cause.errno == errno.ENOSPC

    def test_stderr_is_not_missed(self) -> None:
        """Remarks that nobody can read stop nothing."""
        out = io.StringIO()
        console = Console(out, Broken())
        console.thinking("hm")
        console.text("a")
        console.problem("b")
        assert out.getvalue() == "a\n"

    @pytest.mark.skipif(os.name == "nt", reason="pipes are different on Windows")
    def test_an_abandoned_stream_can_be_closed(self, pipe: tuple[int, TextIO]) -> None:
        """What it still holds goes nowhere, instead of failing when Python shuts down."""
        reading, stream = pipe
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, reading)  # the reader leaves
        os.close(nowhere)
        console = Console(stream, None)
        with pytest.raises(OutputLostError) as caught:
            console.text("a")
        assert isinstance(caught.value.cause, BrokenPipeError)

        console.abandon_output()

        stream.flush()


class TestInterrupted:
    """Leaving the terminal in order after a Ctrl-C."""

    def test_ends_the_line_of_the_answer(self) -> None:
        """On a terminal that is also the line with its ^C."""
        screen = Terminal()
        console = Console(screen, screen)
        console.text("Hello")
        console.interrupted()
        assert screen.getvalue() == "Hello\n"

    def test_ends_the_line_that_the_terminal_wrote(self) -> None:
        """The answer goes elsewhere, the ^C is on the terminal."""
        out, screen = io.StringIO(), Terminal()
        console = Console(out, screen)
        console.text("Hello")
        console.interrupted()
        assert (out.getvalue(), screen.getvalue()) == ("Hello\n", "\n")

    def test_writes_nothing_where_nothing_was_written(self) -> None:
        """An empty file stays empty."""
        out, err = io.StringIO(), io.StringIO()
        Console(out, err).interrupted()
        assert (out.getvalue(), err.getvalue()) == ("", "")

    @pytest.mark.skipif(os.name == "nt", reason="pipes are different on Windows")
    def test_does_not_wait_for_a_reader(self, pipe: tuple[int, TextIO]) -> None:
        """A pipe that is full stays as it is, and blocks its other writers as before."""
        reading, stream = pipe
        pen = Pen(stream)
        pen.write("a")
        assert os.read(reading, 1) == b"a"
        other = os.dup(stream.fileno())
        fill(other)

        pen.end_at_once()

        assert os.get_blocking(other)
        os.close(other)
        while data := os.read(reading, 65536):
            assert data.strip(b"x") == b""
