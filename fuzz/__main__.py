"""`python -m fuzz <target> [--seconds N]`: run a target until it fails or the time is over."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("sse", "events", "answers")
# The modules in which the coverage of an input is measured.
INSTRUMENTED = ["pi_native", "sseclient", "http.client", "requests", "urllib3"]


def main() -> None:
    """Run a target; an input that breaks it is saved in .work, and the exit code is not zero."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed here: pip install -e '.[fuzz]'")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from . import targets
    work = HERE / ".work" / options.target
    work.mkdir(parents=True, exist_ok=True)
    with targets.TARGETS[options.target]() as check:
        flags = [
            f"-max_total_time={options.seconds}",
            f"-artifact_prefix={work.parent}/{options.target}-",
            f"-dict={HERE / 'words.dict'}",
            "-max_len=16384",
            "-timeout=20",
            "-print_final_stats=1",
        ]
        seeds = str(targets.CORPUS / options.target)
        atheris.Setup([sys.argv[0], *flags, str(work), seeds], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
