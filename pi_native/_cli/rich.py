"""Whether rich may draw: it is there, and stdout is a terminal that it can draw on."""

from __future__ import annotations

import importlib.util
from typing import TextIO

from .console import Console


def canvas_for_rich(console: Console) -> TextIO | None:
    """The terminal to draw on; None where plain text is the thing, or all there is."""
    return console.canvas if importlib.util.find_spec("rich") else None
