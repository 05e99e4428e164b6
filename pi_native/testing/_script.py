"""The script: what is still to be answered, in order."""

import threading
from collections.abc import Iterable

import attrs

from ._answers import Scripted
from ._request import RecordedRequest

__all__ = ["Script"]

_SHOWN = 100  # characters of an entry


@attrs.frozen
class _Entry:
    path: str
    model: str | None
    answer: Scripted

    def fits(self, request: RecordedRequest) -> bool:
        return self.path == request.path and self.model in (None, request.model)


class Script:
    """Hands out each entry once, to the first request that it fits. Threads may share it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, answers: Iterable[Scripted], path: str, model: str | None) -> None:
        """Append answers for a path, and if so said for one model only."""
        with self._lock:
            self._entries += [_Entry(path, model, answer) for answer in answers]

    def take(self, request: RecordedRequest) -> Scripted | None:
        """Take out the first entry that fits; None if there is none."""
        with self._lock:
            for index, entry in enumerate(self._entries):
                if entry.fits(request):
                    return self._entries.pop(index).answer
        return None

    def outline(self) -> list[str]:
        """Return a line for each entry that is left."""
        with self._lock:
            return [f"{entry.path}: {entry.answer!r:.{_SHOWN}}" for entry in self._entries]
