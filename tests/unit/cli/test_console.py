"""Output of the command line: terminals, pipes, and streams that fail."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from pi_native._cli.console import Console, Output, OutputLostError, one_line


class Terminal(io.StringIO):
    """A stand-in for a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Return True."""
        return True


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def write(self, _text: str) -> int:
        """Fail like a full disk."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def _styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Return the reading end of a pipe, and the stream that writes to it."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as writer:
        yield reader.fileno(), writer


def fill(descriptor: int) -> None:
    """Write to a pipe until it is full."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.set_blocking(descriptor, True)


class TestOrder:
    """Answer, thinking and notes, on one terminal or two streams."""

    def test_pipes_get_the_text_only(self) -> None:
        """A pipe gets no escape sequence, and no newline that belongs to the other stream."""
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
        """A note does not continue the line of the answer; thinking is dimmed."""
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
        """NO_COLOR and TERM=dumb switch styles off."""
        monkeypatch.setenv(name, value)
        screen = Terminal()
        Console(io.StringIO(), screen).thinking("hm")
        assert screen.getvalue() == "hm"

    def test_problems_are_one_line(self) -> None:
        """An error is one line without control characters, whatever its text."""
        err = io.StringIO()
        Console(None, err).problem("a\n\tb\x1b[31m \x07")
        assert err.getvalue() == "pi-native: a b\ufffd[31m \ufffd\n"

    def test_closed_streams_are_ignored(self) -> None:
        """A process may be started without stdout and stderr; nothing fails."""
        console = Console(None, None)
        console.text("a")
        console.thinking("b")
        console.note("c")
        console.flush()
        console.interrupted()
        console.abandon_output()


class TestCharacters:
    """Texts are not trusted, and encodings lack characters."""

    def test_a_terminal_gets_no_control_characters(self) -> None:
        """Control characters become U+FFFD, except tab and newline."""
        screen = Terminal()
        Console(screen, None).text("a\x1b]0;title\x07\tb\r\n\x9b1m\x7f")
        assert screen.getvalue() == "a\ufffd]0;title\ufffd\tb\n\ufffd1m\ufffd"

    def test_a_pipe_gets_them_as_they_are(self) -> None:
        """The reader of a pipe may need control characters."""
        out = io.StringIO()
        Console(out, None).text("a\x1b[1m\r\n")
        assert out.getvalue() == "a\x1b[1m\r\n"

    @pytest.mark.parametrize(
        ("encoding", "written"), [("utf-8", "é ? 😀"), ("latin-1", "é ? ?"), ("ascii", "? ? ?")]
    )
    def test_a_missing_character_becomes_a_question_mark(self, encoding: str, written: str) -> None:
        """Half a surrogate pair is in no encoding; other characters depend on it."""
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding) as out:
            Console(out, None).text("é \ud83d 😀")
            assert raw.getvalue().decode(encoding) == written

    def test_a_lossy_encoding_is_reported_once(self) -> None:
        """A user who sees question marks learns why, and what to set."""
        err = io.StringIO()
        with io.TextIOWrapper(io.BytesIO(), "cp1252") as out:
            console = Console(out, err)
            for _ in range(2):
                console.text("caf\xe9 \u4f60\n")
                console.finish()
        (line,) = err.getvalue().splitlines()
        assert line.startswith("pi-native: stdout is encoded as cp1252")
        assert "PYTHONUTF8=1" in line

    def test_json_is_plain_ascii(self) -> None:
        """JSON is ASCII, so that no encoding changes it."""
        out = io.StringIO()
        Console(out, None).json({"a": "é\ud83d", "b": [1, None]})
        assert out.getvalue() == '{"a":"\\u00e9\\ud83d","b":[1,null]}\n'

    def test_one_line_keeps_the_words(self) -> None:
        """White space of any kind becomes one space."""
        assert one_line(" a\r\n b\x0bc\x00 ") == "a b c\ufffd"


class TestLostOutput:
    """Streams that fail."""

    def test_stdout_says_why(self) -> None:
        """The error of the system is the cause."""
        with pytest.raises(OutputLostError) as caught:
            Console(Broken(), None).text("a")
        assert caught.value.cause.errno == errno.ENOSPC

    def test_a_failing_stderr_is_ignored(self) -> None:
        """Notes that cannot be written do not stop the answer."""
        out = io.StringIO()
        console = Console(out, Broken())
        console.thinking("hm")
        console.text("a")
        console.problem("b")
        assert out.getvalue() == "a\n"

    @pytest.mark.skipif(os.name == "nt", reason="pipes are different on Windows")
    def test_an_abandoned_stream_can_be_closed(self, pipe: tuple[int, TextIO]) -> None:
        """Its buffer is discarded, so that Python can flush it at exit."""
        reading, stream = pipe
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, reading)  # the reader closes the pipe
        os.close(null)
        console = Console(stream, None)
        with pytest.raises(OutputLostError) as caught:
            console.text("a")
        assert isinstance(caught.value.cause, BrokenPipeError)

        console.abandon_output()

        stream.flush()


class TestInterrupted:
    """The terminal after a Ctrl-C."""

    def test_ends_the_line_of_the_answer(self) -> None:
        """The line of the answer is also the line with the ^C of the terminal."""
        screen = Terminal()
        console = Console(screen, screen)
        console.text("Hello")
        console.interrupted()
        assert screen.getvalue() == "Hello\n"

    def test_ends_the_line_that_the_terminal_wrote(self) -> None:
        """With the answer in a pipe, the line of the ^C is ended on stderr."""
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
    def test_does_not_block_on_a_full_pipe(self, pipe: tuple[int, TextIO]) -> None:
        """A full pipe stays unchanged, and blocks its other writers as before."""
        reading, stream = pipe
        output = Output(stream)
        output.write("a")
        assert os.read(reading, 1) == b"a"
        other = os.dup(stream.fileno())
        fill(other)

        output.end_at_once()

        assert os.get_blocking(other)
        os.close(other)
        while data := os.read(reading, 65536):
            assert data.strip(b"x") == b""


class TestRichTerminal:
    """The terminals that rich draws on."""

    @pytest.fixture
    def screen(self) -> Terminal:
        """Return a terminal in UTF-8."""
        return Terminal()

    def test_a_terminal_is_enough(self, screen: Terminal) -> None:
        """A terminal that obeys cursor movements and shows every character will do."""
        assert Console(screen, None).rich_terminal() is screen

    @pytest.mark.parametrize(
        ("name", "value"), [("TERM", "dumb"), ("TERM", "xterm-color"), ("JPY_PARENT_PID", "7")]
    )
    def test_a_notebook_cell_gets_text(
        self, screen: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """The pseudo-terminal of `!pi-native` in a cell would keep every frame."""
        monkeypatch.setenv(name, value)
        assert Console(screen, None).rich_terminal() is None

    def test_an_encoding_without_all_characters_gets_text(self, screen: Terminal) -> None:
        """Boxes and bullets are missing in other encodings."""
        screen.encoding = "cp1252"  # type: ignore[misc]
        assert Console(screen, None).rich_terminal() is None
