"""The keyword arguments of `map`, for type checkers and editors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Literal

from .._prompts import Tools
from .._threads.abort import AbortSignal
from .._types.options import TurnOptions
from .progress import Progress
from .rules.budget import Budget


class MapOptions(TurnOptions, total=False):
    """The keyword arguments of `Client.map`, without `into`."""

    system: str | Sequence[str] | None
    tools: Tools | None
    executor: Executor | None
    concurrency: int
    ordered: bool
    retries: int
    patience: float
    budget: float | Budget | None
    save: str | os.PathLike[str] | None
    on_error: Literal["raise", "keep"]
    progress: bool | Callable[[Progress], object]
    signal: AbortSignal | threading.Event | None
