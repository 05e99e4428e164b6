"""Keeps a fork from copying a lock that a thread holds, which stays locked in the child for good.

Two such locks were met, both by a child whose first turn then waited for ever.

* A module's import lock: cattrs is imported on first use, in whatever thread that is. A fork waits
  until such an import is over.
* OpenSSL's lock on the list of the threads that use it. A thread takes it for the first thing it
  does with OpenSSL, and again in its very end, when Python is done with it. A turn over https
  followed at once by a fork met that in 3 of 309 tries on two busy cores; with workers that mind
  it, the fake gateway's threads did in 1 of 3,121. So a thread does its first thing while it holds
  the interpreter's lock, as the forking thread must too; and a fork waits for those about to end.

Whatever starts a thread that speaks TLS calls both functions in it: the worker, and the fake
gateway's connections. A caller's own thread is begun where it asks the gateway something; other
people's threads are theirs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

LOADING = threading.RLock()
"""To be held while something is imported late."""

_LONGEST_LOADING = 5.0
_LONGEST_ENDING = 0.2
_LOOK_SECONDS = 0.0005
_TASKS = "/proc/self/task"

# Not all that ended: those whose last steps may still be under way.
_ending: deque[int] = deque(maxlen=64)
_forking = threading.local()


def begin_tls() -> None:
    """Have OpenSSL know this thread. To be called in each thread before its first use of TLS."""
    import ssl  # there are Pythons without it

    ssl.RAND_bytes(1)  # one of the few calls that keep the interpreter's lock


def end_thread() -> None:
    """Note that this thread ends. To be called as the last thing that it does."""
    _ending.append(threading.get_native_id())


def _wait_for_endings() -> None:
    """Wait until the threads that said so have ended; only Linux tells when that is."""
    deadline = time.monotonic() + _LONGEST_ENDING
    while _ending and time.monotonic() < deadline:
        if os.path.exists(f"{_TASKS}/{_ending[0]}"):
            time.sleep(_LOOK_SECONDS)
        else:
            _ending.popleft()


def _before() -> None:
    # Not for ever: the import may be waiting for a module that the forking thread is loading.
    _forking.held = LOADING.acquire(timeout=_LONGEST_LOADING)
    _wait_for_endings()


def _after() -> None:
    if _forking.held:
        LOADING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
