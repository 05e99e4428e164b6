"""The number of times that a test repeats something: fewer in the fast tests than in `.ci/run`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("PI_NATIVE_THOROUGH"))
"""True if tests repeat more, and hypothesis tries all examples."""


def repetitions(thorough: int, fast: int) -> int:
    """Return the first number if the tests are to be thorough, and the second one otherwise."""
    return thorough if THOROUGH else fast
