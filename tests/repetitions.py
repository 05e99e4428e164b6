"""The number of times that a test repeats something: fewer in the fast tests than in `.ci/run`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("PI_NATIVE_THOROUGH"))
"""True if tests repeat more, and hypothesis tries all examples."""


def repetitions(thorough: int, fast: int) -> int:
    """Return `thorough` with PI_NATIVE_THOROUGH=1, and `fast` without it."""
    return thorough if THOROUGH else fast
