"""`batch`: make a turn for each line of a file, and write the answers to another, line by line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pi_native import (
    AuthenticationError,
    Batch,
    BudgetError,
    ConfigurationError,
    Context,
    DecodeError,
    PiNativeError,
)

from .console import Console, what_happened
from .inputs import client_for_turns

HELP = "Make a turn for each line of a file, several at once; the same command resumes."
EPILOG = """\
IN.jsonl has a prompt on each line: a JSON string, or an object with "prompt" (a string) or
"messages" (a list as in the API of OpenAI). OUT.jsonl gets an object with "key", "index" and
"message", or "error", for each prompt, in the order in which they end.
"""

# When every prompt fails, the cause is not in the prompts.
_MOST_FAILURES_IN_A_ROW = 10


def add_batch_arguments(add: Callable[..., object]) -> None:
    """Add the arguments of `batch` with a parser's `add_argument`."""
    add("input", metavar="IN.jsonl", help="the prompts, one on each line")
    add("-o", "--output", metavar="OUT.jsonl", required=True, help="the answers; kept and resumed")
    add("-m", "--model", metavar="MODEL", help="PROVIDER/ID; default: PI_NATIVE_MODEL")
    add("--concurrency", metavar="N", type=_count, default=8, help="turns in flight; default: 8")
    add("--budget", metavar="USD", type=_dollars, help="start no turn beyond this cost")
    add("--schema", metavar="FILE", help="a JSON Schema of an object, which each answer must be")
    add("-s", "--system", metavar="TEXT", help="the system prompt of every turn")


def batch(args: argparse.Namespace, console: Console) -> int:
    """Run the batch. Returns 0 when every prompt has an answer, else 1."""
    model = args.model or os.environ.get("PI_NATIVE_MODEL")
    if not model:
        raise ConfigurationError("no model: give -m PROVIDER/ID or set PI_NATIVE_MODEL")
    with (
        _os_errors(),
        _warnings_to(console),
        client_for_turns(args) as client,
        console.notes_to(_write_above_progress),
        client.map(
            model,
            PromptFile(args.input),
            into=_read_schema(args.schema),
            system=args.system,
            concurrency=args.concurrency,
            budget=args.budget,
            save=args.output,
            on_error="keep",
            ordered=False,
            progress=True,
        ) as results,
    ):
        return _run(results, console)


def _read_schema(path: str | None) -> dict[str, Any] | None:
    """Return the schema in a file. Raises `ConfigurationError`, `OSError`."""
    if path is None:
        return None
    try:
        schema = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{path}: not a JSON Schema: {exc}") from None
    if not isinstance(schema, dict):
        raise ConfigurationError(f"{path}: a JSON Schema must be an object")
    return schema


def _run(results: Batch[Any], console: Console) -> int:
    """Read the results, report the failures, and end with a line about all of them."""
    code = 0
    try:
        for result in results:
            if result.error is not None:
                code = 1
                console.problem(f"prompt {result.index}: {_cause(result.error)}")
                if _is_hopeless(result.error, results):
                    console.problem("every prompt fails; the batch ends here")
                    results.stop()
    except BudgetError as exc:
        code = 1
        console.problem(f"the budget is used up; at least {exc.left:,} prompts are left")
    finally:
        console.note(f"pi-native: {_summary(results)}")
    return code


def _is_hopeless(error: BaseException, results: Batch[Any]) -> bool:
    """Return True when the prompts that are left would fail as well."""
    progress = results.progress
    all_failed = progress.failed == progress.done - progress.reused
    many = progress.failed >= _MOST_FAILURES_IN_A_ROW
    return isinstance(error, (AuthenticationError, ConfigurationError)) or (all_failed and many)


def _cause(error: BaseException) -> str:
    return what_happened(error) if isinstance(error, PiNativeError) else repr(error)


def _summary(results: Batch[Any]) -> str:
    progress = results.progress
    answered = progress.done - progress.failed
    return (
        f"{answered:,} answered ({progress.reused:,} of them before), {progress.failed:,} failed, "
        f"{results.usage.total_tokens:,} tokens, ${results.cost.total:,.4f}"
    )


def _write_above_progress(text: str) -> None:
    """Write a line to the terminal that shows the progress, which is shown again below it."""
    try:
        from tqdm.auto import tqdm  # lazy: an optional dependency, extra [batch]
    except ImportError:
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text.ljust(width), file=sys.stderr, flush=True)
    else:
        tqdm.write(text, file=sys.stderr)


@contextlib.contextmanager
def _warnings_to(console: Console) -> Iterator[None]:
    """Write warnings as lines; what follows their semicolon is advice for Python code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        console.problem(str(message).partition(";")[0])

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


class PromptFile:
    """The prompts of a file, read line by line each time that they are iterated."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __len__(self) -> int:
        """Return the number of lines that are not blank."""
        with open(self._path, "rb") as file:
            return sum(1 for line in file if line.strip())

    def __iter__(self) -> Iterator[str | Context]:
        """Yield each prompt. Raises `ConfigurationError` that names the line."""
        with open(self._path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield prompt_of(json.loads(line.decode("utf-8-sig")))
                    except (ValueError, RecursionError, DecodeError) as exc:
                        text = f"{self._path}, line {number}: {exc}"
                        raise ConfigurationError(text) from None


def prompt_of(value: Any) -> str | Context:
    """Return the prompt that a line of the input holds. Raises `ValueError`."""
    if isinstance(value, dict) and {"prompt", "messages"} & value.keys():
        value = value.get("prompt", value.get("messages"))
        if isinstance(value, list):
            return _with_messages(value)
    if not isinstance(value, str):
        raise ValueError(
            'expected a JSON string, or an object with "prompt" (a string) or "messages" (a list)'
        )
    return value


def _with_messages(messages: list[Any]) -> Context:
    context = Context.from_openai(messages)
    if not context.messages:
        raise ValueError("messages: expected at least one message of the user")
    return context


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turn the error of a file into a `ConfigurationError` with its name."""
    try:
        yield
    except PiNativeError:
        raise
    except OSError as exc:
        if exc.filename is None:
            raise
        raise ConfigurationError(f"{exc.filename}: {exc.strerror}") from None


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a number of turns above 0: {text!r}")
    return int(text)


def _dollars(text: str) -> float:
    try:
        dollars = float(text)
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise argparse.ArgumentTypeError(f"not an amount of US dollars: {text!r}")
    return dollars
