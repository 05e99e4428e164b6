"""The number of turns that may be in flight, learnt from refusals. Pure: no clock, no thread."""

from __future__ import annotations

_CUT = 0.6


class Window:
    """A limit on the turns in flight: it grows by one a round and is cut once a round of refusals.

    A round is as many successes as the window is wide. A turn carries the `epoch` in which it was
    started; a refusal of a turn from before the last cut says nothing new and cuts nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = float(limit)
        self.epoch = 0

    @property
    def size(self) -> int:
        """The number of turns that may be in flight now, at least 1."""
        return max(1, int(self._size))

    def succeeded(self) -> None:
        """Count one answered turn."""
        self._size = min(self._limit, self._size + 1 / self._size)

    def refused(self, epoch: int) -> bool:
        """Count one refused turn of an epoch; return True when that cut the window."""
        if epoch < self.epoch:
            return False
        self._size = max(1.0, self._size * _CUT)
        self.epoch += 1
        return True
