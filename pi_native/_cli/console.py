"""Write to the standard streams: the answer to stdout as it arrives, everything else to stderr.

No text stops the output: not half a surrogate pair, and not a character that the encoding of stdout
lacks. A terminal gets no control character except tab and newline, because the text is not trusted
and a terminal executes control sequences.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from pi_native import (
    AuthGatewayError,
    PiNativeError,
    ProviderError,
    StreamTimeoutError,
)

_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"

_CONTROLS: dict[int, str | None] = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\ufffd")
_CONTROLS |= {ord("\t"): "\t", ord("\n"): "\n", ord("\r"): None}


class OutputLostError(Exception):
    """Writing to stdout failed. `cause` is the reason, a `BrokenPipeError` for a closed pipe."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


def whole_characters(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair that has no other half."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def showable(text: str) -> str:
    """Return an untrusted text with whole characters and without control characters."""
    return whole_characters(text).translate(_CONTROLS)


def one_line(text: str) -> str:
    """Return an untrusted text on one line and without control characters."""
    return " ".join(text.split()).translate(_CONTROLS)


class Output:
    """One standard stream, which may be closed (None). Every write is flushed."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.is_terminal = stream is not None and stream.isatty()
        self.mid_line = False
        self.lacks_characters = False
        """True once a character was written as `?` because the encoding lacks it."""

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write a piece of text. Raises `OSError` when the stream fails."""
        if self.stream is None or not text:
            return
        shown = text.translate(_CONTROLS) if self.is_terminal else text
        if dim:
            shown = f"{_DIM}{shown}{_NORMAL}"
        self.mid_line = not text.endswith("\n")
        written = shown.encode(self.encoding, "replace").decode(self.encoding)
        self.lacks_characters |= written != shown
        self.stream.write(written)
        self.stream.flush()

    def end_line(self) -> None:
        """End the line, if it is not empty."""
        if self.mid_line:
            self.write("\n")

    def end_at_once(self) -> None:
        """End the line without blocking; drop the data that a slow reader leaves no room for."""
        if self.stream is None:
            return
        try:
            with _nonblocking(self.stream):
                self.stream.flush()
                self.end_line()
        except OSError:
            self.abandon()

    def flush(self) -> None:
        """Write out the buffer of the stream."""
        if self.stream is not None:
            self.stream.flush()

    def abandon(self) -> None:
        """Discard the buffer of the stream, so that closing it neither blocks nor fails."""
        self.mid_line = False
        if self.stream is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it may have no descriptor
            descriptor = self.stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


@contextlib.contextmanager
def _nonblocking(stream: TextIO) -> Iterator[None]:
    """Let writes to the stream fail instead of block, where the system supports that."""
    try:
        descriptor = stream.fileno()
        before = os.get_blocking(descriptor)
    except (OSError, ValueError, AttributeError):
        yield
        return
    # The flag is shared with other processes that write to the same pipe, so it is set back.
    os.set_blocking(descriptor, False)
    try:
        yield
    finally:
        os.set_blocking(descriptor, before)


class Console:
    """Both standard streams, and their order on a terminal that shows them together."""

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        self._out = Output(out)
        self._err = Output(err)
        self._dims = self._err.is_terminal and _allows_styles(os.environ)
        self._note_by: Callable[[str], object] | None = None
        self._warned = False

    @property
    def is_watched(self) -> bool:
        """True when stderr is a terminal, so that a person reads the notes."""
        return self._err.is_terminal

    @property
    def columns(self) -> int | None:
        """The width of the terminal that stdout is; None when stdout is not a terminal."""
        return shutil.get_terminal_size().columns if self._out.is_terminal else None

    def rich_terminal(self) -> TextIO | None:
        """Return stdout if rich is installed and can draw on it; else None."""
        draws = self._out.is_terminal and _can_draw(os.environ)
        shows_all = self._out.encoding.lower().startswith("utf")
        return self._out.stream if draws and shows_all and _has_rich() else None

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Raise `OutputLostError` when drawing fails because the terminal is gone."""
        try:
            yield
        except OSError as exc:
            # Errors of a turn are subclasses of OSError with another meaning.
            if type(exc) is not OSError:
                raise
            raise OutputLostError(exc) from exc

    @contextlib.contextmanager
    def notes_to(self, write: Callable[[str], object]) -> Iterator[None]:
        """Write notes with this function while rich draws, if stderr is a terminal too."""
        self._note_by = write if self._err.is_terminal else None
        try:
            yield
        finally:
            self._note_by = None

    def text(self, piece: str) -> None:
        """Write a piece of the answer to stdout. Raises `OutputLostError`."""
        if piece:
            self._end_thinking()
            self._on_stdout(lambda: self._out.write(piece))

    def line(self, text: str) -> None:
        """Write a line of the answer to stdout. Raises `OutputLostError`."""
        self.text(text + "\n")

    def paragraph(self, text: str) -> None:
        """Write a line to stdout, wrapped between words on a terminal. Raises `OutputLostError`."""
        wrapped = textwrap.wrap(
            text, self.columns or len(text), break_long_words=False, break_on_hyphens=False
        )
        self.line("\n".join(wrapped))

    def json(self, data: Mapping[str, Any]) -> None:
        """Write an object as one line of ASCII JSON to stdout. Raises `OutputLostError`."""
        self.line(json.dumps(data, separators=(",", ":")))

    def finish(self) -> None:
        """End the last line of the answer. Raises `OutputLostError`."""
        self._end_thinking()
        self._on_stdout(self._out.end_line)
        if self._out.lacks_characters and not self._warned:
            self._warned = True
            self.problem(
                f"stdout is encoded as {self._out.encoding}, which lacks some characters of the "
                "answer: each is written as ?; set PYTHONUTF8=1 for UTF-8"
            )

    def flush(self) -> None:
        """Write out what argparse has printed. Raises `OutputLostError`."""
        self._on_stdout(self._out.flush)

    def thinking(self, piece: str) -> None:
        """Write a piece of thinking to stderr."""
        with contextlib.suppress(OSError):
            if piece and self._err.is_terminal and self._out.is_terminal:
                self._out.end_line()
            self._err.write(piece, dim=self._dims)

    def note(self, text: str) -> None:
        """Write a line to stderr, after the answer that there is so far."""
        self._note(text)

    def aside(self, text: str) -> None:
        """Write a dim line to stderr."""
        self._note(text, dim=self._dims)

    def problem(self, text: str) -> None:
        """Write an error or a warning to stderr, in one line."""
        self.note(f"pi-native: {one_line(text)}")

    def help(self, parser: argparse.ArgumentParser) -> None:
        """Print the help of a parser to stderr.

        argparse writes it, because Python 3.14 colours it: the escape sequences are not a model's,
        and must not be replaced. argparse decides by stdout alone, hence `color`.
        """
        if self._err.stream is not None:
            parser.color = self._err.is_terminal  # type: ignore[attr-defined,unused-ignore]
            with contextlib.suppress(OSError):
                parser.print_help(self._err.stream)

    def interrupted(self) -> None:
        """End the lines on both streams after a Ctrl-C, without blocking."""
        ended = self._out.mid_line and self._out.is_terminal
        self._out.end_at_once()
        if self._err.is_terminal and not ended:
            self._err.mid_line = True  # the terminal has written ^C
        self._err.end_at_once()

    def abandon_output(self) -> None:
        """Write nothing more to stdout, and discard its buffer."""
        self._out.abandon()

    def _note(self, text: str, *, dim: bool = False) -> None:
        if self._note_by is not None:
            self._note_by(text)
            return
        self.finish()
        with contextlib.suppress(OSError):
            self._err.write(text, dim=dim)
            self._err.write("\n")

    def _end_thinking(self) -> None:
        with contextlib.suppress(OSError):
            self._err.end_line()

    def _on_stdout(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as exc:
            raise OutputLostError(exc) from exc


def _allows_styles(environ: Mapping[str, str]) -> bool:
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _can_draw(environ: Mapping[str, str]) -> bool:
    """Tell whether a terminal obeys cursor movements.

    `!pi-native` in a notebook cell runs in a pseudo-terminal whose output the page appends: each
    frame would stay. Kernels set TERM to xterm-color, and most of them JPY_PARENT_PID.
    """
    return environ.get("TERM") not in ("dumb", "xterm-color") and "JPY_PARENT_PID" not in environ


def _has_rich() -> bool:
    return importlib.util.find_spec("rich") is not None


def explain(exc: PiNativeError) -> str:
    """Return the text of an error with its HTTP status or time limit, and with its hint."""
    return f"{what_happened(exc)}; {exc.hint}" if exc.hint else what_happened(exc)


def what_happened(exc: PiNativeError) -> str:
    """Return the text of an error with its HTTP status or time limit, without its hint."""
    text = str(exc).removesuffix(f"; {exc.hint}")
    if isinstance(exc, StreamTimeoutError) and exc.limit and f"{exc.limit:g} s" not in str(exc):
        return f"{text} ({exc.limit:g} s)"
    status, prefix = None, ""
    if isinstance(exc, ProviderError):
        status, prefix = exc.message and exc.message.error_status, "the turn failed: "
    elif isinstance(exc, AuthGatewayError):
        status = exc.status
    return prefix + text + (f" (HTTP {status})" if status and str(status) not in text else "")
