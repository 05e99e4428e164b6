"""A lock on an open file that a second writer cannot take, and that ends with the process."""

from __future__ import annotations

import errno
import logging
import os
import sys
import weakref

_log = logging.getLogger("pi_native")

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class LockedFile:
    """A file descriptor that holds the lock until it is closed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        _open_files.add(self)

    def lock(self) -> bool:
        """Take the lock; return False when another descriptor holds it."""
        try:
            _lock(self.descriptor)
        except OSError as exc:
            if exc.errno in _HELD:
                return False
            _log.warning("the file system has no locks (%s): run one batch at a time", exc)
        return True

    def close(self) -> None:
        """Close the descriptor, and so release the lock."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_open_files: weakref.WeakSet[LockedFile] = weakref.WeakSet()


def _close_in_child() -> None:
    # A lock belongs to the open file, which a forked worker shares: a worker that outlives its
    # parent would keep the lock, and the batch could not be resumed.
    for file in list(_open_files):
        file.close()


if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 0x7FFF_FFFF  # far behind the text: other programs can read the file

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.register_at_fork(after_in_child=_close_in_child)
