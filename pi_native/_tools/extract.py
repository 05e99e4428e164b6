"""Structured output: the model calls one tool, `answer`, and its arguments become a value.

The gateway drops `response_format`, so the schema of the answer is that of a tool. A model that
does not call it is asked again; arguments that do not fit return to it as the error of its call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from .._schemas.target import MisfitError, Problem, Target
from .._types.content import ToolCall
from .._types.messages import AssistantMessage, DeveloperMessage, Message, ToolResultMessage
from .._types.request import Context, Tool
from ..errors import ConfigurationError, ExtractionError

ANSWER = "answer"
_DESCRIPTION = "Give the answer to the request."
_UNFORCED = " Always give your answer by calling this tool."
_REMINDER = f"Call the tool `{ANSWER}` with your answer."
_CUT_OFF = "the answer was cut off at the limit of output tokens; raise max_tokens"

Ask = Callable[[Context, Mapping[str, Any]], AssistantMessage]


@attrs.define(eq=False)
class Extraction:
    """The messages that an extraction adds to its context, its value, and the last message."""

    value: Any
    message: AssistantMessage
    added: list[Message]


@attrs.frozen(eq=False, kw_only=True)
class Extractor:
    """One extraction: at most `retries` corrections, with or without a forced call."""

    target: Target[Any]
    retries: int = 2
    force: bool | None = None

    def __attrs_post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigurationError(
                f"retries must be a whole number, 0 or more, not {self.retries!r:.60}"
            )

    def run(self, ask: Ask, context: Context, options: Mapping[str, Any]) -> Extraction:
        """Ask until the answer fits. Raises `ExtractionError`, and what `ask` raises."""
        forced = self._is_forced(options)
        options = {**options, "tool_choice": {"type": "tool", "name": ANSWER} if forced else "auto"}
        tools = [*(context.tools or ()), self._tool(forced)]
        added: list[Message] = []
        problems: list[Problem] = []
        requests = 0
        for _ in range(self.retries + 1):
            messages = [*context.messages, *added]
            message = ask(attrs.evolve(context, messages=messages, tools=tools), options)
            requests += 1
            try:
                value = value_of(message, self.target)
            except MisfitError as exc:
                problems = exc.problems
            else:
                return Extraction(value, message, [*added, message, *_results(message, None)])
            if message.stop_reason == "length":
                problems = [("$", _CUT_OFF)]
                break
            added += [message, *_results(message, problems)]
        raise _failure(problems, requests, message)

    def check(self, tools: Sequence[Tool] | None, options: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for tools and options that an extraction cannot have."""
        if any(tool.name == ANSWER for tool in tools or ()):
            raise ConfigurationError(
                f"an extraction has a tool {ANSWER!r} of its own; rename yours"
            )
        if options.get("tool_choice") is not None:
            raise ConfigurationError("an extraction has force=..., and no tool_choice")

    def _is_forced(self, options: Mapping[str, Any]) -> bool:
        # Providers switch thinking off for a forced call.
        return options.get("reasoning") is None if self.force is None else self.force

    def _tool(self, forced: bool) -> Tool:
        description = _DESCRIPTION if forced else _DESCRIPTION + _UNFORCED
        return Tool(ANSWER, description, self.target.schema)


def value_of(message: AssistantMessage, target: Target[Any]) -> Any:
    """Return the value of a message's call of `answer`. Raises `MisfitError`."""
    calls = [call for call in message.tool_calls if call.name == ANSWER]
    if not calls:
        raise MisfitError([("$", f"the model did not call the tool `{ANSWER}`")])
    return target.convert(calls[0].arguments)


def _results(message: AssistantMessage, problems: list[Problem] | None) -> list[Message]:
    """Answer every call of a message: providers refuse a history with an open call."""
    calls = message.tool_calls
    answer = next((call for call in calls if call.name == ANSWER), None)
    results: list[Message] = []
    for call in calls:
        if call is not answer:
            results.append(_result(call, "not run", is_error=True))
        elif problems is None:
            results.append(_result(call, "ok", is_error=False))
        else:
            text = "\n".join(f"{path}: {text}" for path, text in problems)
            results.append(_result(call, f"{text}\nCall the tool again.", is_error=True))
    if answer is None:
        results.append(DeveloperMessage(_REMINDER))
    return results


def _result(call: ToolCall, text: str, *, is_error: bool) -> ToolResultMessage:
    return ToolResultMessage(call.id, call.name, text, is_error)


def _failure(problems: list[Problem], attempts: int, message: AssistantMessage) -> ExtractionError:
    text = "; ".join(f"{path}: {text}" for path, text in problems)
    requests = "1 request" if attempts == 1 else f"{attempts} requests"
    return ExtractionError(
        f"the answer does not fit after {requests}: {text}",
        problems=problems,
        attempts=attempts,
        partial=message,
    )
