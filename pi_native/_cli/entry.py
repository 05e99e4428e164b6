"""From the arguments to the exit code, whichever way it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from pi_native import ConfigurationError, PiNativeError

from .console import Console, OutputLostError
from .parser import build_parser
from .problems import explain

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

# What a shell reports for a program that died of SIGPIPE; Python programs do not, they are told.
READER_LEFT = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: the turn or the gateway failed. 2: it was called the wrong way. 130: interrupted.
    141: whoever read the output went away. `argv` None stands for this process's own arguments.
    """
    console = Console(sys.stdout, sys.stderr)
    try:
        return _run(argv, console)
    except KeyboardInterrupt:
        if argv is None:
            # The process is ours: a second Ctrl-C, while Python shuts down, ends it without a word.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        console.interrupted()
        return INTERRUPTED
    except OutputLostError as exc:
        console.abandon_output()
        if isinstance(exc.cause, BrokenPipeError):
            return READER_LEFT
        console.problem(f"cannot write to stdout: {exc.cause.strerror or exc.cause}")
        return FAILED


def _run(argv: Sequence[str] | None, console: Console) -> int:
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as exc:  # after --help, --version and mistakes, all told already
        console.flush()
        return int(exc.code or 0)
    if args.run is None:
        console.note(parser.format_help().rstrip())
        return MISUSED
    try:
        code: int = args.run(args, console)
    except PiNativeError as exc:
        console.problem(explain(exc))
        return MISUSED if isinstance(exc, ConfigurationError) else FAILED
    return code
