"""Print the text of a stream while it arrives, where outputs cannot be replaced."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .sanitize import whole_characters
from .views import ending_of

if TYPE_CHECKING:
    from .._types.messages import AssistantMessage


class TerminalView:
    """Writes each new part of the text to the standard output."""

    seconds_between_looks = 0.05

    def __init__(self) -> None:
        self._printed = ""

    def begin(self) -> None:
        """Print nothing yet."""

    def show_partial(self, message: AssistantMessage | None) -> None:
        """Print the text that has arrived since the last call."""
        text = message.text if message else ""
        # Half of a surrogate pair cannot be printed; the other half may be on its way.
        if "\ud800" <= text[-1:] <= "\udbff":
            text = text[:-1]
        text = whole_characters(text)  # and no escape sequences for the terminal
        if not text.startswith(self._printed):  # a snapshot that changed what it had said
            self._write("\n")
            self._printed = ""
        self._write(text[len(self._printed) :])
        self._printed = text

    def end(self, message: AssistantMessage | None, remark: str | None) -> None:
        """Print the rest of the text, and why it is not complete."""
        self.show_partial(message)
        if message is not None and remark is None:
            remark = ending_of(message)
        if self._printed and not self._printed.endswith("\n"):
            self._write("\n")
        if remark:
            self._write(f"{remark}\n")

    def _write(self, text: str) -> None:
        if text:
            encoding = sys.stdout.encoding or "utf-8"
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
            sys.stdout.flush()
