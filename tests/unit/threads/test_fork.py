"""Forks of a process that has imported the package."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ... import forking
from ...forking import forks, in_child
from ...programs import run


@pytest.mark.slow
def test_importing_the_package_delays_no_fork() -> None:
    """The package registers nothing that `os.fork` has to wait for in the parent."""
    code = (
        "import os\n"
        "hooks = []\n"
        "os.register_at_fork = lambda **given: hooks.append(given)\n"
        "import pi_native, pi_native.testing\n"
        "print(sorted({name for given in hooks for name in given if name != 'after_in_child'\n"
        "    and str(given[name].__module__).startswith('pi_native')}))\n"
    )
    assert run(code).stdout.strip() == "[]"


@pytest.mark.slow
@forks
def test_a_child_that_hangs_is_reported_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork helper reports where the child hangs, and does not wait for it."""
    monkeypatch.setattr(forking, "LEFT", 1)
    begun = time.monotonic()
    with pytest.raises(AssertionError, match=r"the child hung.*\n.*in wait\n"):
        in_child(threading.Event().wait)
    with pytest.raises(AssertionError, match="the child died: -9"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert time.monotonic() - begun < 20
