"""The keyword arguments of `extract`, for type checkers and editors."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from .._prompts import Tools
from .._threads.abort import AbortSignal
from .._types.options import TurnOptions


class ExtractOptions(TurnOptions, total=False):
    """The keyword arguments of `Client.extract`."""

    retries: int
    force: bool | None
    system: str | Sequence[str] | None
    tools: Tools | None
    signal: AbortSignal | threading.Event | None
