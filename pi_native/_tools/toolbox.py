"""The tools of a run: the function of each call, its approval, and its arguments."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import attrs

from .._schemas.target import MisfitError
from .._types.content import ToolCall
from .._types.messages import ToolResultMessage
from .._types.request import Tool
from ..errors import ConfigurationError
from . import results
from .cancel import RunSignal
from .function import FunctionTool, misfit_text
from .round import Round
from .threads import Job, run_jobs

Approve = Callable[[ToolCall], bool | str | Mapping[str, Any]]
OnTool = Callable[[ToolCall, ToolResultMessage], object]


class RefusedError(Exception):
    """A call that does not run; the text is its result."""


@attrs.define(eq=False, kw_only=True)
class Toolbox:
    """The functions of a run by name, and how they are run."""

    functions: Mapping[str, FunctionTool[..., Any]]
    approve: Approve | None
    workers: int
    observers: list[OnTool]

    def run(self, round: Round, cancel: RunSignal) -> None:
        """Answer the calls of a round.

        First all calls are checked and approved, in order, in this thread. Then the tools run, at
        the same time unless one of them must not. Raises the reason of a cancel, and the first
        exception of a tool other than `ToolError`, after the tools that run have ended.
        """
        jobs = list(self._jobs(round, cancel))
        to_run = {job.index for job in jobs}
        for index in range(len(round.calls)):
            if index not in to_run:
                self._report(round, index)
        failure: BaseException | None = None
        for job in run_jobs(jobs, self._threads(round), cancel):
            failure = failure or job.failure
            self._report(round, job.index)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure, job  # the traceback refers to this frame

    def _jobs(self, round: Round, cancel: RunSignal) -> Iterator[Job]:
        for index, call in enumerate(round.calls):
            cancel.check()
            try:
                run = self._checked(call, cancel)
            except RefusedError as exc:
                round.answer(index, results.failure(call, str(exc)))
            else:
                yield Job(index, round, run)

    def _checked(self, call: ToolCall, cancel: RunSignal) -> Callable[[], ToolResultMessage]:
        """Return a function that runs the call. Raises `RefusedError`."""
        function = self.functions.get(call.name)
        if function is None:
            raise RefusedError(self._unknown(call.name))
        try:
            arguments = function._convert(call.arguments)
        except MisfitError as exc:
            raise RefusedError(misfit_text(exc)) from None
        except Exception as exc:  # noqa: BLE001 - by a class of the caller: the tool has failed
            return functools.partial(_raise, exc)
        details = None
        if function.approve:
            replaced = self._ask(call)
            if replaced is not None:
                arguments = _replacement(function, replaced)
                details = {"arguments": replaced}
        return functools.partial(function._run, call, arguments, cancel.signal, details)

    def _ask(self, call: ToolCall) -> dict[str, Any] | None:
        """Return the arguments to run with instead of the model's. Raises `RefusedError`."""
        assert self.approve is not None  # checked before the first request
        verdict = self.approve(copy.deepcopy(call))
        if verdict is True:
            return None
        if verdict is False:
            raise RefusedError("refused")
        if isinstance(verdict, str):
            raise RefusedError(f"refused: {verdict}" if verdict else "refused")
        if isinstance(verdict, Mapping):
            return dict(verdict)
        raise TypeError(
            f"approve must return True, False, a reason or arguments, not {type(verdict).__name__}"
        )

    def _unknown(self, name: str) -> str:
        known = ", ".join(self.functions) or "none"
        return f"there is no tool {name!r}; the tools are: {known}"

    def _threads(self, round: Round) -> int:
        used = (self.functions.get(call.name) for call in round.calls)
        return self.workers if all(f is None or f.parallel for f in used) else 1

    def _report(self, round: Round, index: int) -> None:
        for observer in self.observers:
            observer(round.calls[index], round.result(index))


def make_toolbox(
    declared: list[Tool] | None,
    functions: Mapping[str, FunctionTool[..., Any]],
    *,
    approve: Approve | None,
    workers: int,
    on_tool: OnTool | None,
) -> Toolbox:
    """Return the toolbox of the declared tools. Raises `ConfigurationError` and `TypeError`."""
    for name, value in {"approve": approve, "on_tool": on_tool}.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    expect_count("workers", workers)
    usable = {}
    for tool in declared or ():
        function = functions.get(tool.name)
        if function is not None:
            usable[tool.name] = function
        elif tool.native is None:  # the provider runs a native tool
            raise ConfigurationError(
                f"tool {tool.name!r} has no function to run: give it to Conversation(tools=...) or "
                f"Conversation.load(..., tools=...)"
            )
    unasked = [name for name, function in usable.items() if function.approve]
    if unasked and approve is None:
        raise ConfigurationError(
            f"tool {unasked[0]!r} requires approval: give a function as approve=..."
        )
    observers = [] if on_tool is None else [on_tool]
    return Toolbox(functions=usable, approve=approve, workers=workers, observers=observers)


def expect_count(name: str, value: Any) -> None:
    """Raise `ConfigurationError` for a number that is not 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number, 1 or more, not {value!r:.60}")


def _raise(exc: Exception) -> NoReturn:
    raise exc


def _replacement(function: FunctionTool[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return function._convert(arguments)
    except MisfitError as exc:
        raise ValueError(f"the arguments that approve returned do not fit: {exc}") from exc
