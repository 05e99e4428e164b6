"""The public names: every one is there, and those that are not needed yet are loaded late."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pi_native


def test_every_name_is_there() -> None:
    """What the package lists can be had, is told by `dir`, and is there for a star."""
    assert set(pi_native.__all__) <= set(dir(pi_native))
    starred: dict[str, object] = {}
    exec("from pi_native import *", starred)
    assert {name: getattr(pi_native, name) for name in pi_native.__all__}.items() <= starred.items()


def test_a_name_that_is_not_there() -> None:
    """A typing error is told as Python tells it."""
    with pytest.raises(AttributeError, match=r"^module 'pi_native' has no attribute 'Cilent'$"):
        pi_native.Cilent  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_not_needed_yet_is_loaded_late() -> None:
    """Neither cattrs, nor what only turns need, nor the gateway's own pages are loaded at first."""
    code = (
        "import sys, pi_native\n"
        "late = {'cattrs', 'pi_native._types.gateway', 'pi_native._conversation',\n"
        "    'pi_native._http.json_call',\n"
        "    'pi_native._turn.worker', 'pi_native._types.events', \n"
        "    'pi_native._protocol.convert', 'pi_native._turn.stream'}\n"
        "assert not late & sys.modules.keys()\n"
        "assert pi_native.Health(True, '1').ok and pi_native.Conversation\n"
        "assert {'pi_native._types.gateway', 'pi_native._conversation'} <= sys.modules.keys()\n"
        "assert {'Health', 'Conversation'} <= vars(pi_native).keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
