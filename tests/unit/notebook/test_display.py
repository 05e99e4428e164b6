"""Showing a stream where there is no notebook."""

from __future__ import annotations

import sys

import pytest

from pi_native import AssistantMessageEventStream
from pi_native.errors import ConfigurationError

from ...programs import run


def test_without_ipython_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks IPython is told what to install."""
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'pi-native\[jupyter\]'"):
        AssistantMessageEventStream().display()


def test_nobody_imports_ipython_unasked() -> None:
    """Importing the package, and showing a message, needs no IPython."""
    script = (
        "import sys, pi_native\n"
        "before = set(sys.modules)\n"
        "late = {'IPython', 'pi_native._notebook.markdown', 'pi_native._notebook.display'}\n"
        "assert not late & before\n"
        "pi_native.AssistantMessage([pi_native.TextContent('Hi')])._repr_markdown_()\n"
        "assert 'IPython' not in sys.modules"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
