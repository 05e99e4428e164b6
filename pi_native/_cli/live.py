"""A turn in a terminal, drawn with rich while it is under way.

One thread does it all: it waits for the end of the turn, a twentieth of a second at a time, and
draws what has arrived. The lower end of the terminal is drawn anew each time; what is finished is
printed once, above it, and scrolls away like any other output. So a long answer is never cut, and
stays to be read when the turn is over, or was interrupted.
"""

from __future__ import annotations

import contextlib
import time
from typing import TextIO

from rich.console import Console as Screen, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    StreamStats,
    ThinkingContent,
)

from .blocks import drawn, settled, source_of
from .console import Console, one_line

_SECONDS_BETWEEN_LOOKS = 0.05
# What a look may cost of the time: a block of code of a thousand lines takes a while to draw.
_SHARE_FOR_DRAWING = 0.25


def show_live(
    stream: AssistantMessageEventStream, console: Console, terminal: TextIO, *, thinking: bool
) -> AssistantMessage:
    """Draw a turn as it comes, and return its message. Raises what ended the stream.

    Whatever ends it, what there is of the answer stays on the screen.
    """
    screen = screen_on(terminal)
    with console.drawing(), _live(screen) as live:
        picture = _Picture(screen, live, thinking=thinking)
        try:
            with console.remarks_to(lambda text: screen.print(Text(one_line(text), style="dim"))):
                _follow(stream, picture)
            message = stream.result()
        except BaseException:
            stream.close()
            picture.finish(stream.partial)
            raise
        picture.finish(message if message.content else stream.partial)
        if message.stop_reason not in ("error", "aborted"):
            screen.print(Text(_last_line(message, stream.stats), style="dim"))
    return message


def _live(screen: Screen) -> Live:
    return Live(
        console=screen,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def screen_on(terminal: TextIO) -> Screen:
    """How rich is told to draw: nothing that is written here is its own markup."""
    return Screen(file=terminal, highlight=False, markup=False, emoji=False)


def _follow(stream: AssistantMessageEventStream, picture: _Picture) -> None:
    while not stream.done:
        began = time.monotonic()
        picture.draw(stream.partial, stream.stats.duration)
        cost = time.monotonic() - began
        # A TimeoutError means nothing yet, or a deadline of the stream's own: that has ended it.
        with contextlib.suppress(TimeoutError):
            stream.result(max(_SECONDS_BETWEEN_LOOKS, cost / _SHARE_FOR_DRAWING))


class _Picture:
    """What of the answer is printed for good, and what is still being drawn."""

    def __init__(self, screen: Screen, live: Live, *, thinking: bool) -> None:
        self._screen = screen
        self._live = live
        self._thinking = thinking
        self._spinner = Spinner("dots", style="dim")
        self._blocks_printed = 0
        self._printed = 0  # characters of the block after them
        self._anything = False

    def draw(self, message: AssistantMessage | None, seconds: float) -> None:
        """Draw the answer as far as it has come, or for how many seconds there was none."""
        blocks = [] if message is None else message.content or []
        for block in blocks[self._blocks_printed : -1]:
            self._finish_block(block)
        growing = self._growing(blocks[-1]) if len(blocks) > self._blocks_printed else None
        self._live.update(_Tail(growing or self._waiting(blocks, seconds)), refresh=True)

    def finish(self, message: AssistantMessage | None) -> None:
        """Print what has not been printed yet, below nothing."""
        self._live.update(Text(""), refresh=True)
        self._live.stop()
        blocks = [] if message is None else message.content or []
        for block in blocks[self._blocks_printed :]:
            self._finish_block(block)

    def _finish_block(self, block: object) -> None:
        source = source_of(block)
        self._print(block, None if source is None else source[self._printed :])
        self._blocks_printed += 1
        self._printed = 0

    def _growing(self, block: object) -> RenderableType | None:
        """What is left to draw of the last block, once its settled part is printed."""
        if isinstance(block, ThinkingContent) and not self._thinking:
            return None
        source = source_of(block)
        if source is None:
            return self._spaced(block, drawn(block))
        piece = settled(block, source[self._printed :])
        self._print(block, source[self._printed : self._printed + piece])
        self._printed += piece
        rest = source[self._printed :]
        return self._spaced(block, drawn(block, rest)) if rest.strip() else None

    def _print(self, block: object, source: str | None) -> None:
        hidden = isinstance(block, ThinkingContent) and not self._thinking
        if hidden or (source is not None and not source.strip()):
            return
        self._screen.print(self._spaced(block, drawn(block, source)))
        self._anything = True

    def _spaced(self, block: object, picture: RenderableType) -> RenderableType:
        """Apart from what is above it; lines of thinking come one by one and stay together."""
        goes_on = isinstance(block, ThinkingContent) and self._printed
        bare = Trimmed(picture)
        return Group(Text(""), bare) if self._anything and not goes_on else bare

    def _waiting(self, blocks: object, seconds: float) -> RenderableType:
        doing = "thinking" if blocks else "waiting"
        self._spinner.update(text=Text(f"{doing}, {seconds:.1f} s", style="dim"))
        return self._spinner


class Trimmed:
    """Something without empty lines above and below, and without spaces at the ends of lines.

    rich adds both. Spaces would be copied along, and make lines wrap when a terminal gets narrower.
    """

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        lines = list(map(_trimmed, screen.render_lines(self._whole, options, pad=False)))
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


class _Tail:
    """The last lines of something, as many as the terminal has room for."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        lines = screen.render_lines(self._whole, options, pad=False)
        for line in lines[-max(1, screen.size.height - 2) :]:
            yield from line
            yield Segment.line()


def _last_line(message: AssistantMessage, stats: StreamStats) -> str:
    # Left out by the gateway, whatever the annotation says.
    if message.usage is None:
        return f"no usage was reported, {stats.duration:.1f} s"
    speed = stats.tokens_per_second
    if speed is None:  # it all came at once
        speed = (message.usage.output or 0) / max(stats.duration, 0.001)
    return f"{message.usage}, {speed:,.1f} tokens/s, {stats.duration:.1f} s"
