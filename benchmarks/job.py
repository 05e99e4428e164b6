"""One measurement in a separate process: `python -m benchmarks.job MODULE ARGUMENT…`.

Calls the module's `job` with the arguments, as text, and prints what it returns as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    """Run the job that the command line names, and print its result as JSON."""
    module = importlib.import_module(f"benchmarks.{sys.argv[1]}")
    print(json.dumps(module.job(*sys.argv[2:])))


if __name__ == "__main__":
    main()
