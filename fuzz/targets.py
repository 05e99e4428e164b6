"""The targets by name, each a check of some bytes, and their seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from .answers import answering
from .events import check_events
from .sse import check_sse

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"

Check = Callable[[bytes], None]
TARGETS: dict[str, Callable[[], AbstractContextManager[Check]]] = {
    "sse": lambda: contextlib.nullcontext(check_sse),
    "events": lambda: contextlib.nullcontext(check_events),
    "answers": answering,
}


def seeds(target: str) -> list[Path]:
    """Return the files of the target in the corpus."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())
