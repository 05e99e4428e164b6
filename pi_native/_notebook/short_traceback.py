"""Format an exception for IPython: the frames of the caller, and what had arrived."""

from __future__ import annotations

import sys
import traceback
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import PiNativeError

_PACKAGE = str(Path(__file__).parent.parent)
_SHOWN_CHARACTERS = 2_000

# Exceptions whose message is on the page already, with what had arrived.
_shown: weakref.WeakSet[BaseException] = weakref.WeakSet()


def mark_as_shown(exc: BaseException) -> None:
    """Have IPython print one line for this exception."""
    line = _last_line(exc)
    if hasattr(type(exc), "_render_traceback_"):
        _shown.add(exc)
    else:
        exc._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]


def short_traceback(exc: PiNativeError) -> list[str]:
    """Return the lines that IPython shows for the exception instead of all frames."""
    if exc in _shown:
        return [_last_line(exc)]
    lines = [*_frames_of_caller(exc.__traceback__), _last_line(exc)]
    arrived = exc.partial.text if exc.partial else ""
    if arrived:
        cut = "…" if len(arrived) > _SHOWN_CHARACTERS else ""
        lines += ["", "This had arrived:", cut + arrived[-_SHOWN_CHARACTERS:]]
    return lines


def _last_line(exc: BaseException) -> str:
    return ": ".join(filter(None, (type(exc).__name__, str(exc))))


def _frames_of_caller(tb: TracebackType | None) -> list[str]:
    lines = []
    for frame in traceback.extract_tb(tb):
        if frame.filename.startswith(_PACKAGE):
            break
        if "IPython" in Path(frame.filename).parts:  # the frames that run a cell
            continue
        where = f"{_name_of(frame.filename)}, line {frame.lineno}"
        function = "" if frame.name == "<module>" else f", in {frame.name}"
        lines += [f"{where}{function}", f"    {frame.line}"]
    return lines


def _name_of(filename: str) -> str:
    """Return "Cell In[3]" for the file of a cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    try:
        return " ".join(shell.compile.format_code_name(filename))  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        return filename
