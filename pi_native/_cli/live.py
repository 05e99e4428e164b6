"""Draw a turn in a terminal with rich while it arrives.

One thread does everything: it waits for the end of the turn, a twentieth of a second at a time, and
draws what has arrived. Only the last lines of the terminal are rendered again; a finished part is
printed once above them and scrolls away like any other output. So a long answer is never cut, and
all that has arrived stays on the screen after Ctrl-C.

The cursor is never hidden, so no signal can leave it hidden.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console as Screen, ConsoleOptions, Group, RenderableType, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.spinner import Spinner
from rich.text import Text

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    StreamStats,
    ThinkingContent,
)

from .console import Console, one_line
from .rendering import THEME, render, settled, source_of

_SECONDS_BETWEEN_FRAMES = 0.05
# The share of the time that drawing may take: a block of a thousand lines of code takes long.
_SHARE_FOR_DRAWING = 0.25


def show_live(
    stream: AssistantMessageEventStream, console: Console, terminal: TextIO, *, thinking: bool
) -> AssistantMessage:
    """Draw a turn as it arrives, and return its message. Raises the failure of the stream.

    However it ends, all that has arrived stays on the screen.
    """
    screen = screen_on(terminal)
    region = _Region(screen)
    answer = _Answer(screen, region, thinking=thinking)
    with console.drawing(), _redrawing_after_stop(region):
        try:
            with console.notes_to(lambda text: region.print(Text(one_line(text), style="dim"))):
                _follow(stream, answer)
            message = stream.result()
        except BaseException:
            stream.close()
            answer.finish(stream.partial)
            raise
        answer.finish(message if message.content else stream.partial)
        if message.stop_reason not in ("error", "aborted"):
            screen.print(Text(_last_line(message, stream.stats), style="dim"))
    return message


def screen_on(terminal: TextIO) -> Screen:
    """Return rich's console for a terminal; it interprets no markup of its own in texts."""
    screen = Screen(file=terminal, theme=THEME, highlight=False, markup=False, emoji=False)
    _measure(screen)
    return screen


def _measure(screen: Screen) -> None:
    """Take over the current size of the terminal. A size of 0, as from COLUMNS=0, is unknown."""
    width, height = shutil.get_terminal_size()
    screen.width, screen.height = width, height


def _follow(stream: AssistantMessageEventStream, answer: _Answer) -> None:
    while not stream.done:
        began = time.monotonic()
        answer.draw(stream.partial, stream.stats.duration)
        cost = time.monotonic() - began
        # A TimeoutError means: not yet. It may also be the failure of the stream, which has ended.
        with contextlib.suppress(TimeoutError):
            stream.result(max(_SECONDS_BETWEEN_FRAMES, cost / _SHARE_FOR_DRAWING))


@contextlib.contextmanager
def _redrawing_after_stop(region: _Region) -> Iterator[None]:
    """Draw below the shell's lines after Ctrl-Z and `fg`, instead of over them."""
    if not hasattr(signal, "SIGCONT") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCONT, lambda *_: region.forget())
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


class _Region:
    """The last lines of the terminal, which are rendered again and again."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._lines: list[list[Segment]] = []

    def draw(self, content: RenderableType) -> None:
        """Replace the lines by the last ones of the content, if they differ."""
        size = self._screen.size
        _measure(self._screen)
        lines = self._screen.render_lines(content, pad=False)
        lines = lines[-max(1, self._screen.height - 2) :]
        if lines == self._lines and size == self._screen.size:
            return
        with self._screen:  # one write a frame, so that it does not flicker
            self._erase(size.width)
            for line in lines:
                self._screen.print(_RenderedLine(line), end="", crop=False)
        self._lines = lines

    def print(self, content: RenderableType) -> None:
        """Print the content above the lines, which the next frame shows again."""
        width = self._screen.width
        _measure(self._screen)
        with self._screen:
            self._erase(width)
            self._screen.print(content, crop=False)

    def forget(self) -> None:
        """Leave the lines where they are."""
        self._lines = []

    def _erase(self, width_before: int) -> None:
        """Erase the lines, which the terminal had wrapped at this width."""
        rows = len(self._lines)
        if self._screen.width < width_before and _reflows():
            lengths = map(Segment.get_line_length, self._lines)
            rows = sum(-(-max(1, length) // self._screen.width) for length in lengths)
        if rows:
            erase = (ControlType.ERASE_IN_LINE, 2)
            up = ((ControlType.CURSOR_UP, 1), erase) * rows
            self._screen.control(Control(ControlType.CARRIAGE_RETURN, erase, *up))
        self._lines = []


def _reflows() -> bool:
    """Tell whether the terminal wraps lines again when it gets narrower, as most do."""
    return "XTERM_VERSION" not in os.environ and os.environ.get("TERM") != "linux"


class _Answer:
    """Which part of the answer is printed, and which part is rendered in the region."""

    def __init__(self, screen: Screen, region: _Region, *, thinking: bool) -> None:
        self._screen = screen
        self._region = region
        self._thinking = thinking
        self._spinner = Spinner("dots", style="dim")
        self._blocks_printed = 0
        self._printed = 0  # characters of the next block
        self._anything = False

    def draw(self, message: AssistantMessage | None, seconds: float) -> None:
        """Draw the answer as far as it has arrived, or how long it has been awaited."""
        blocks = [] if message is None else message.content or []
        for block in blocks[self._blocks_printed : -1]:
            self._finish_block(block)
        growing = self._growing(blocks[-1]) if len(blocks) > self._blocks_printed else None
        self._region.draw(growing or self._waiting(blocks, seconds))

    def finish(self, message: AssistantMessage | None) -> None:
        """Print the rest of the answer, and leave nothing in the region."""
        self._region.draw(Group())
        blocks = [] if message is None else message.content or []
        for block in blocks[self._blocks_printed :]:
            self._finish_block(block)

    def _finish_block(self, block: object) -> None:
        source = source_of(block)
        self._print(block, None if source is None else source[self._printed :])
        self._blocks_printed += 1
        self._printed = 0

    def _growing(self, block: object) -> RenderableType | None:
        """Print the settled part of the last block, and return what is left to draw."""
        if isinstance(block, ThinkingContent) and not self._thinking:
            return None
        source = source_of(block)
        if source is None:
            return self._spaced(block, Trimmed(render(block)))
        piece = settled(block, source[self._printed :])
        self._print(block, source[self._printed : self._printed + piece])
        self._printed += piece
        rest = source[self._printed :]
        if not rest.strip():
            return None
        return self._spaced(block, Trimmed(render(block, rest, soft_wrap=False)))

    def _print(self, block: object, source: str | None) -> None:
        hidden = isinstance(block, ThinkingContent) and not self._thinking
        if hidden or (source is not None and not source.strip()):
            return
        self._region.print(self._spaced(block, Trimmed(render(block, source))))
        self._anything = True

    def _spaced(self, block: object, content: RenderableType) -> RenderableType:
        """Put an empty line before a block, but not between lines of thinking."""
        continues = isinstance(block, ThinkingContent) and self._printed
        return Group(Text(""), content) if self._anything and not continues else content

    def _waiting(self, blocks: object, seconds: float) -> RenderableType:
        doing = "thinking" if blocks else "waiting"
        self._spinner.update(text=Text(f"{doing}, {seconds:.1f} s", style="dim"))
        return self._spinner


class Trimmed:
    """Content without empty lines above and below, and without spaces at the ends of lines.

    rich adds both. Spaces are copied with the text, and wrap when a terminal gets narrower.
    """

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        lines = list(map(_trimmed, Segment.split_lines(screen.render(self._content, options))))
        filled = [number for number, line in enumerate(lines) if line]
        for line in lines[filled[0] : filled[-1] + 1] if filled else []:
            yield from line
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip():
        line = line[:-1]
    if not line:
        return []
    text, style, control = line[-1]
    return [*line[:-1], Segment(text.rstrip(), style, control)]


class _RenderedLine:
    """One line that is rendered already."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, _screen: Screen, _options: ConsoleOptions) -> RenderResult:
        yield from self._segments
        yield Segment.line()


def _last_line(message: AssistantMessage, stats: StreamStats) -> str:
    # A gateway may leave the usage out, against the annotation.
    if message.usage is None:
        return f"no usage was reported, {stats.duration:.1f} s"
    speed = stats.tokens_per_second
    if speed is None:  # all of the answer arrived at once
        speed = (message.usage.output or 0) / max(stats.duration, 0.001)
    return f"{message.usage}, {speed:,.1f} tokens/s, {stats.duration:.1f} s"
