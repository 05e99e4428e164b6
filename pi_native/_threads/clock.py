"""Clocks that measure waits, also in tests that stop the time.

freezegun replaces `time.monotonic` in every module that holds it, and a deadline that is compared
with a stopped clock never passes. It does not replace `time.clock_gettime`, nor a `partial`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable


def _clock(*names: str) -> Callable[[], float]:
    """Return the first of these system clocks that the platform has, else `time.monotonic`."""
    for name in names:
        number = getattr(time, name, None)
        if number is not None:
            return functools.partial(time.clock_gettime, number)
    return functools.partial(time.monotonic)


monotonic = _clock("CLOCK_UPTIME_RAW", "CLOCK_MONOTONIC")
"""Seconds while the machine runs; what `time.monotonic` returns."""

since_boot = _clock("CLOCK_BOOTTIME", "CLOCK_MONOTONIC")
"""Seconds that also pass while the machine sleeps: a connection grows old in that time."""
