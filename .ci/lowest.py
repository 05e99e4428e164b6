"""Print the lowest versions of the run-time dependencies that setup.cfg allows, as requirements.

With `--check`, fail unless exactly these versions are installed.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import sys


def lowest(path: str) -> dict[str, str]:
    """Return the lowest version of each run-time dependency, by its name."""
    config = configparser.ConfigParser()
    config.read(path)
    found = {}
    for line in config["options"]["install_requires"].splitlines():
        text = line.partition("#")[0].strip()
        if text:
            match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)(,<[0-9.]+)?", text)
            if match is None:
                raise SystemExit(f"no lower bound: {text}")
            found[match[1]] = match[2]
    return found


def main() -> None:
    """Print the requirements, or check that they are installed."""
    bounds = lowest(sys.argv[1])
    if "--check" not in sys.argv:
        print(*(f"{name}=={version}" for name, version in bounds.items()))
        return
    for name, version in bounds.items():
        installed = importlib.metadata.version(name)
        if [int(part) for part in installed.split(".")] != [
            int(part) for part in version.split(".")
        ]:
            raise SystemExit(f"{name} {installed} is installed, not {version}")


if __name__ == "__main__":
    main()
