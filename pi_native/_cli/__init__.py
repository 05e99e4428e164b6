"""The command line: `pi-native`, and `python -m pi_native`.

The answer goes to stdout as it arrives, everything else to stderr. It is made of the package's
public names alone, so whatever it does, its users can do.
"""

from .entry import main

__all__ = ["main"]
