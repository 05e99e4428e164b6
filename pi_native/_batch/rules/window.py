"""The number of turns that may be in flight, learnt from refusals. Pure: no clock, no thread."""

from __future__ import annotations

_CUT = 0.6
# Limits count per second or per minute. With turns of 50 ms a round is shorter than that, and a
# window that grows in each of them is refused twice as often.
_SHORTEST_ROUND = 1.0


class Window:
    """A limit on the turns in flight: it grows by one a round and is cut once a round of refusals.

    A round is as many successes as the window is wide, and takes a second at least. A turn carries
    the `epoch` in which it was started; a refusal of a turn from before the last cut says nothing
    new and cuts nothing. Times are in seconds of the driver's clock.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = float(limit)
        self._successes = 0
        self._round_began = 0.0
        self.epoch: int = 0

    @property
    def size(self) -> int:
        """The number of turns that may be in flight now, at least 1."""
        return max(1, int(self._size))

    def succeeded(self, now: float) -> None:
        """Count one answered turn."""
        self._successes += 1
        if self._successes >= self._size and now - self._round_began >= _SHORTEST_ROUND:
            self._size = min(self._limit, self._size + 1)
            self._begin_round(now)

    def refused(self, epoch: int, now: float) -> bool:
        """Count one refused turn of an epoch; return True when that cut the window."""
        if epoch < self.epoch:
            return False
        self._size = max(1.0, self._size * _CUT)
        self.epoch += 1
        self._begin_round(now)
        return True

    def _begin_round(self, now: float) -> None:
        self._successes = 0
        self._round_began = now
