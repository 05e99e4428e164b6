"""Keeps a fork from copying a lock that a thread holds, which stays locked in the child for good.

Three such locks were met, each by a child whose first turn then waited for ever.

* A module's import lock: cattrs is imported on first use, in whatever thread that is. A fork waits
  until such an import is over.
* OpenSSL's lock on the list of the threads that use it. A thread takes it for the first thing it
  does with OpenSSL, and again in its very end, when Python is done with it. A turn over https
  followed at once by a fork met that in 3 of 309 tries on two busy cores. So a thread does its
  first thing while it holds the interpreter's lock, as the forking thread must too; and a fork
  waits for those about to end.
* OpenSSL's locks on what handshakes fetch, and on its source of random numbers. A fork in the 60 ms
  in which six threads first shook hands met one of them in 3 of 322 processes. So a fork waits for
  handshakes, and holds back further ones meanwhile; that took it 20 ms there.

Whatever starts a thread that speaks TLS calls these functions in it: the worker, and the fake
gateway's connections. A caller's own thread is begun where it asks the gateway something; other
people's threads, and handshakes of a session that is the caller's, are theirs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

LOADING = threading.RLock()
"""To be held while something is imported late."""

_LONGEST_LOADING = 5.0
_LONGEST_TLS = 2.0
_LOOK_SECONDS = 0.0005
_TASKS = "/proc/self/task"

# Held by a fork from when it begins to wait: nobody sets about a handshake, or ends, meanwhile.
_gate = threading.RLock()
# Held by it once it has waited: nobody takes part in a handshake either.
_copying = threading.RLock()
_handshaking: set[int] = set()
# Not all that ended: those whose last steps may still be under way.
_ending: deque[int] = deque(maxlen=64)
_forking = threading.local()


def begin_tls() -> None:
    """Have OpenSSL know this thread. To be called in each thread before its first use of TLS."""
    import ssl  # there are Pythons without it

    ssl.RAND_bytes(1)  # one of the few calls that keep the interpreter's lock


def begin_handshake() -> None:
    """Note that this thread makes a TLS handshake, which must not need a fork to be over."""
    with _gate:
        answer_handshake()


def answer_handshake() -> None:
    """The same where the other side began, for which a fork in this process may be waiting."""
    with _copying:
        _handshaking.add(threading.get_ident())


def end_handshake() -> None:
    """Note that it is over, if there was one."""
    _handshaking.discard(threading.get_ident())


def end_thread() -> None:
    """Note that this thread ends. To be called as the last thing that it does."""
    with _gate:
        _ending.append(threading.get_native_id())


def _wait_for_tls() -> None:
    """Wait until nobody is in a handshake, and those who said so have ended, but not for long."""
    deadline = time.monotonic() + _LONGEST_TLS
    _copying.acquire()
    while _is_busy() and time.monotonic() < deadline:
        _copying.release()
        time.sleep(_LOOK_SECONDS)
        _copying.acquire()


def _is_busy() -> bool:
    # Only Linux tells when a thread is gone.
    while _ending and not os.path.exists(f"{_TASKS}/{_ending[0]}"):
        _ending.popleft()
    return bool(_ending) or bool(_handshaking - {threading.get_ident()})


def _before() -> None:
    # Not for ever: the import may be waiting for a module that the forking thread is loading.
    _forking.held = LOADING.acquire(timeout=_LONGEST_LOADING)
    _gate.acquire()
    _wait_for_tls()


def _after() -> None:
    _copying.release()
    _gate.release()
    if _forking.held:
        LOADING.release()


def _after_in_child() -> None:
    _handshaking.clear()
    _ending.clear()
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
