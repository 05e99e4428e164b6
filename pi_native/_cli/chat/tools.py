"""The tools of `chat --tools FILE.py`: load them, ask for approval, and show what they return."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any
from unicodedata import category

from pi_native import ConfigurationError, FunctionTool, ToolCall, ToolResultMessage

from ..console import Console, one_line, showable

_MODULE = "pi_native_chat_tools"
_YES = ("y", "yes")
_NO = ("", "n", "no")
_LONGEST_RESULT = 200
_UNSEEN = ("Cc", "Cf", "Co", "Cn", "Zl", "Zp")


class ToolFile:
    """The tools that a Python file defines with `@tool`. Raises `ConfigurationError`.

    The error names the file, and the line that failed.
    """

    def __init__(self, file: str) -> None:
        self._path = Path(file).expanduser().absolute()
        self._file = file
        names = self._run()
        found = [value for value in names.values() if isinstance(value, FunctionTool)]
        self.tools: list[FunctionTool[..., Any]] = list(dict.fromkeys(found))
        if not self.tools:
            raise ConfigurationError(f"{file} has no tool: decorate its functions with @tool")

    @property
    def asks(self) -> str | None:
        """The name of a tool that must be approved; None if there is none."""
        return next((tool.name for tool in self.tools if tool.approve), None)

    def failure(self, exc: BaseException) -> str | None:
        """Return a line about an exception of a tool; None if it is not from the file."""
        line = self._line_in(exc.__traceback__)
        if line is None:
            return None
        words = "".join(traceback.format_exception_only(exc)).strip()
        return f"a tool failed: {self._file}, line {line}: {one_line(showable(words))}"

    def _run(self) -> dict[str, Any]:
        """Run the file as a module, and return its names."""
        module = ModuleType(_MODULE)
        module.__file__ = str(self._path)
        sys.modules[_MODULE] = module  # dataclasses look for their module there
        sys.path.insert(0, str(self._path.parent))  # as `python FILE.py` does
        try:
            source = self._path.read_bytes()
        except OSError as exc:
            raise ConfigurationError(
                f"cannot read the tools in {self._file}: {exc.strerror or exc}"
            ) from None
        try:
            exec(compile(source, str(self._path), "exec"), vars(module))
        except (Exception, SystemExit) as exc:
            raise self._broken(exc) from exc
        return vars(module)

    def _broken(self, exc: BaseException) -> ConfigurationError:
        line = self._line_in(exc.__traceback__)
        if isinstance(exc, SyntaxError) and exc.filename == str(self._path):
            line = exc.lineno
        where = self._file if line is None else f"{self._file}, line {line}"
        words = traceback.format_exception_only(exc)[-1].strip()
        if isinstance(exc, ConfigurationError):
            words = str(exc)
        return ConfigurationError(f"cannot load the tools in {where}: {words}")

    def _line_in(self, tb: TracebackType | None) -> int | None:
        """Return the last line of the file in a traceback."""
        lines = [
            frame.lineno for frame in traceback.extract_tb(tb) if frame.filename == str(self._path)
        ]
        return lines[-1] if lines else None


def asker(console: Console, ask: Callable[[str, Console], str]) -> Callable[[ToolCall], bool | str]:
    """Return a function that asks for approval; `ask(question)` returns what is typed."""

    def approve(call: ToolCall) -> bool | str:
        try:
            answer = ask(f"Run {call_line(call)}? [y/N, or a reason] ", console).strip()
        except EOFError:
            console.note("")
            return False
        if answer.lower() in _YES:
            return True
        return False if answer.lower() in _NO else answer

    return approve


def result_shower(console: Console) -> Callable[[ToolCall, ToolResultMessage], None]:
    """Return a function that shows a call and the start of its result as a line on stderr."""

    def show(call: ToolCall, result: ToolResultMessage) -> None:
        text = one_line(showable(str(result))) or f"{len(result.content)} blocks"
        if len(text) > _LONGEST_RESULT:
            text = f"{text[:_LONGEST_RESULT]}..."
        arrow = "failed:" if result.is_error else "->"
        console.aside(f"{call_line(call)} {arrow} {text}")

    return show


def call_line(call: ToolCall) -> str:
    """Return a call on one line: its name, and its arguments as JSON.

    Characters that are not seen, or that change the direction of the text after them, are escaped:
    the call that is approved must be the call that is read.
    """
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    shown = "".join(json.dumps(c)[1:-1] if category(c) in _UNSEEN else c for c in arguments)
    return one_line(showable(f"{call.name or '?'} {shown}"))
