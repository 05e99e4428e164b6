"""The command line: `pi-native`, and `python -m pi_native`.

It uses the public names of the package only, so a program can do everything that it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from pi_native import ConfigurationError, PiNativeError

from .console import Console, OutputLostError, explain
from .parser import build_parser, parse

__all__ = ["main"]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

# A shell reports this for a program that died of SIGPIPE; Python ignores that signal.
READER_LEFT = 141


class _TerminatedError(BaseException):
    """Unwinds the stack after SIGTERM, so that the terminal and the connection are released."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: the turn or the gateway failed. 2: wrong usage. 130: interrupted. 141: the reader of
    stdout has closed it. `argv` None means the arguments of this process.
    """
    console = Console(sys.stdout, sys.stderr)
    owns_process = argv is None
    try:
        with _unwinding_on_sigterm() if owns_process else contextlib.nullcontext():
            return _run(argv, console)
    except KeyboardInterrupt:
        if owns_process:
            # A second Ctrl-C, while Python shuts down, ends the process without a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        console.interrupted()
        return INTERRUPTED
    except _TerminatedError:
        console.interrupted()
        # The parent process sees that the signal ended this one.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return FAILED
    except OutputLostError as exc:
        console.abandon_output()
        if isinstance(exc.cause, BrokenPipeError):
            return READER_LEFT
        console.problem(f"cannot write to stdout: {exc.cause.strerror or exc.cause}")
        return FAILED


@contextlib.contextmanager
def _unwinding_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception. `input()` would leave the terminal without echo otherwise."""

    def unwind(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _TerminatedError

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # ignored on purpose, as by `trap '' TERM`
        return
    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(argv: Sequence[str] | None, console: Console) -> int:
    parser = build_parser()
    try:
        args = parse(parser, argv)
    except SystemExit as exc:  # argparse has printed the help, the version or the mistake
        console.flush()
        return int(exc.code or 0)
    if args.run is None:
        console.help(parser)
        return MISUSED
    try:
        code: int = args.run(args, console)
    except PiNativeError as exc:
        console.problem(explain(exc))
        return MISUSED if isinstance(exc, ConfigurationError) else FAILED
    return code
