"""The script of a fake gateway: the answers that are left, in order."""

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
    """Gives each entry to the first request that it is for. Threads may share it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, answers: Iterable[Scripted], path: str, model: str | None) -> None:
        """Append answers for a path, and with `model` for that model only."""
        with self._lock:
            self._entries += [_Entry(path, model, answer) for answer in answers]

    def take(self, request: RecordedRequest) -> Scripted | None:
        """Remove and return the first entry for the request, or None."""
        with self._lock:
            for index, entry in enumerate(self._entries):
                if entry.fits(request):
                    return self._entries.pop(index).answer
        return None

    def outline(self) -> list[str]:
        """Return one line for each entry that is left."""
        with self._lock:
            return [f"{entry.path}: {entry.answer!r:.{_SHOWN}}" for entry in self._entries]
