"""The command line as a function, and how long it may take."""

from pi_native.__main__ import main

__all__ = ["SECONDS", "main"]

SECONDS = 60
"""A process may take this long to start where many tests run at once."""
