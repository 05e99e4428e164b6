"""Where the words go: the answer to stdout as it arrives, everything else to stderr.

Nothing that can be in a text may stop it from being written: not half a surrogate pair, and not a
character that the encoding of stdout lacks. To a terminal no control character is passed on but
tab and newline, since the text is a stranger's, and a terminal obeys.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"

_CONTROLS: dict[int, str | None] = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\ufffd")
_CONTROLS |= {ord("\t"): "\t", ord("\n"): "\n", ord("\r"): None}


class OutputLostError(Exception):
    """stdout takes no more. `cause` says why; a `BrokenPipeError` when its reader has left."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


def showable(text: str) -> str:
    """A text, which may be a stranger's, of whole characters and without control characters."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.translate(_CONTROLS)


def one_line(text: str) -> str:
    """A text, which may be a stranger's, on one line and without control characters."""
    return " ".join(text.split()).translate(_CONTROLS)


class Pen:
    """Writes to one standard stream, which may be closed (None), and flushes every piece."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.is_terminal = stream is not None and stream.isatty()
        self.mid_line = False

    @property
    def canvas(self) -> TextIO | None:
        """The stream, if it is a terminal that shows every character."""
        encoding = getattr(self._stream, "encoding", None) or ""
        return self._stream if self.is_terminal and encoding.lower().startswith("utf") else None

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write a piece of text. Raises `OSError` when the stream takes no more."""
        if self._stream is None or not text:
            return
        shown = text.translate(_CONTROLS) if self.is_terminal else text
        if dim:
            shown = f"{_DIM}{shown}{_NORMAL}"
        self.mid_line = not text.endswith("\n")
        self._stream.write(_writable(shown, self._stream.encoding))
        self._stream.flush()

    def end_line(self) -> None:
        """End the line, if it is not empty."""
        if self.mid_line:
            self.write("\n")

    def end_at_once(self) -> None:
        """End the line, and wait for nobody: what a slow reader leaves no room for is dropped."""
        if self._stream is None:
            return
        try:
            with _not_waiting(self._stream):
                self._stream.flush()
                self.end_line()
        except OSError:
            self.abandon()

    def flush(self) -> None:
        """Write out what somebody else has left in the stream."""
        if self._stream is not None:
            self._stream.flush()

    def abandon(self) -> None:
        """Let go of whatever the stream still holds, so that nothing waits for it, or fails."""
        self.mid_line = False
        if self._stream is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it may have no descriptor
            descriptor = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _writable(text: str, encoding: str | None) -> str:
    """The text with a `?` for each character that the encoding cannot say."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


@contextlib.contextmanager
def _not_waiting(stream: TextIO) -> Iterator[None]:
    """Have writes to the stream fail instead of waiting, where the system can do that."""
    try:
        descriptor = stream.fileno()
        before = os.get_blocking(descriptor)
    except (OSError, ValueError, AttributeError):
        yield
        return
    # Others may write to the same pipe, and do not expect this: so it is for this moment only.
    os.set_blocking(descriptor, False)
    try:
        yield
    finally:
        os.set_blocking(descriptor, before)


class Console:
    """Both standard streams, and how they take turns on a terminal that shows them together."""

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        self._out = Pen(out)
        self._err = Pen(err)
        self._dims = self._err.is_terminal and _likes_styles(os.environ)
        self._say: Callable[[str], object] | None = None

    @property
    def is_watched(self) -> bool:
        """Whether stderr is a terminal, so that somebody is there to read remarks."""
        return self._err.is_terminal

    @property
    def canvas(self) -> TextIO | None:
        """stdout, if it is a terminal on which can be drawn; else None."""
        return self._out.canvas if os.environ.get("TERM") != "dumb" else None

    @property
    def columns(self) -> int | None:
        """How wide the terminal is that stdout is; None where it is none."""
        return shutil.get_terminal_size().columns if self._out.is_terminal else None

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Have a terminal that has gone away be told from all else. Raises `OutputLostError`."""
        try:
            yield
        except OSError as exc:
            # The errors of a turn that are its subclasses mean something else.
            if type(exc) is not OSError:
                raise
            raise OutputLostError(exc) from exc

    @contextlib.contextmanager
    def remarks_to(self, say: Callable[[str], object]) -> Iterator[None]:
        """Have remarks said by whoever draws on stdout, should both be one terminal."""
        self._say = say if self._err.is_terminal else None
        try:
            yield
        finally:
            self._say = None

    def text(self, piece: str) -> None:
        """Write a piece of the answer to stdout. Raises `OutputLostError`."""
        if piece:
            self._end_thinking()
            self._on_stdout(lambda: self._out.write(piece))

    def line(self, text: str) -> None:
        """Write a line of the answer to stdout. Raises `OutputLostError`."""
        self.text(text + "\n")

    def paragraph(self, text: str) -> None:
        """Write a line of the answer, which a terminal gets between words where it is too long."""
        folded = textwrap.wrap(
            text, self.columns or len(text), break_long_words=False, break_on_hyphens=False
        )
        self.line("\n".join(folded))

    def json(self, data: Mapping[str, Any]) -> None:
        """Write an object as one line of JSON to stdout. Raises `OutputLostError`."""
        self.line(json.dumps(data, separators=(",", ":")))

    def finish(self) -> None:
        """End the last line of the answer. Raises `OutputLostError`."""
        self._end_thinking()
        self._on_stdout(self._out.end_line)

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
        """Write a line to stderr, after what there is of the answer."""
        self._remark(text)

    def aside(self, text: str) -> None:
        """Write a line to stderr that need not catch the eye."""
        self._remark(text, dim=self._dims)

    def problem(self, text: str) -> None:
        """Say on stderr, in one line, what went wrong."""
        self.note(f"pi-native: {one_line(text)}")

    def interrupted(self) -> None:
        """Leave the terminal in order after a Ctrl-C, without waiting for anybody."""
        ended = self._out.mid_line and self._out.is_terminal
        self._out.end_at_once()
        if self._err.is_terminal and not ended:
            self._err.mid_line = True  # the terminal has written ^C
        self._err.end_at_once()

    def abandon_output(self) -> None:
        """Write nothing more to stdout, not even what it holds back."""
        self._out.abandon()

    def _remark(self, text: str, *, dim: bool = False) -> None:
        if self._say is not None:
            self._say(text)
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


def _likes_styles(environ: Mapping[str, str]) -> bool:
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
