"""A function as a tool: described to the model by its signature, and called with its arguments."""

from __future__ import annotations

import copy
import functools
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from .._schemas.target import MisfitError
from .._threads.abort import AbortSignal
from .._types.content import ToolCall
from .._types.messages import ToolResultMessage
from .._types.request import Tool
from ..errors import ConfigurationError, ToolError
from . import results
from .docstrings import doc_texts
from .parameters import Parameters, parameters_of

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # as all providers accept it
_CALL_AGAIN = "Call the tool again."


class FunctionTool(Generic[P, R]):
    """A function that the model may call; `tool` makes it.

    * `name`, `description` and `parameters`, a JSON Schema, are what the model sees.
    * `approve`: each call must be approved before it runs.
    * `parallel`: its calls may run at the same time as other calls.

    Calling the object calls the function.

        >>> @tool
        ... def double(number: int) -> int:
        ...     "Double a number."
        ...     return 2 * number
        >>> double(4), double.parameters["required"]
        (8, ['number'])
        >>> str(double.call(ToolCall("call_1", "double", {"number": 4})))
        '8'
    """

    name: str
    description: str
    parameters: dict[str, Any]
    approve: bool
    parallel: bool

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        approve: bool = False,
        parallel: bool = True,
    ) -> None:
        _check_arguments(function, approve=approve, parallel=parallel)
        _check_texts(name=name, description=description)
        functools.update_wrapper(self, function)
        self._function = function
        self.name = _name(function, name)
        texts = doc_texts(_documented(function))
        self.description = texts.description if description is None else description
        self._parameters: Parameters = parameters_of(function, self.name, texts.parameters)
        self.parameters = self._parameters.schema
        self.approve = approve
        self.parallel = parallel

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self._function(*args, **kwargs)

    @property
    def declaration(self) -> Tool:
        """The tool as it is sent to the model."""
        return Tool(self.name, self.description, copy.deepcopy(self.parameters))

    def call(self, call: ToolCall, *, signal: AbortSignal | None = None) -> ToolResultMessage:
        """Run the function with the arguments of a call, in this thread, and return the result.

        Arguments that do not fit and a `ToolError` are results that are marked as errors. Raises
        all else that the function raises, and `TypeError` for a value that JSON cannot hold.
        `signal` is for a parameter that is annotated as `AbortSignal`. Approval is not asked for.
        """
        if not isinstance(call, ToolCall):
            raise TypeError(f"call must be a ToolCall, not {type(call).__name__}")
        try:
            arguments = self._convert(call.arguments)
        except MisfitError as exc:
            return results.failure(call, misfit_text(exc))
        return self._run(call, arguments, signal or AbortSignal())

    def _convert(self, arguments: Any) -> dict[str, Any]:
        """Return the arguments of a call for `_run`. Raises `MisfitError`."""
        return self._parameters.convert(arguments)

    def _run(
        self, call: ToolCall, arguments: dict[str, Any], signal: AbortSignal, details: Any = None
    ) -> ToolResultMessage:
        """Run the function, and return its result, or its `ToolError` as one."""
        handed_in = self._parameters.hand_in(call, signal)
        try:
            value = self._function(**arguments, **handed_in)  # type: ignore[call-arg]
        except ToolError as exc:
            return results.failure(call, str(exc) or results.FAILED)
        return results.success(call, value, details)

    def __repr__(self) -> str:
        return f"<FunctionTool {self.name}({', '.join(self.parameters['properties'])})>"

    def __deepcopy__(self, _memo: dict[int, Any]) -> FunctionTool[P, R]:
        return self  # as a function, also one that is a method of an object

    def __reduce__(self) -> Any:
        # A decorated function is pickled by its name, as functions are.
        name = getattr(self, "__qualname__", "")
        module = sys.modules.get(getattr(self, "__module__", ""))
        if name and getattr(module, name, None) is self:
            return name
        settings = (self.name, self.description, self.approve, self.parallel)
        return _restore, (self._function, *settings)


@overload
def tool(
    function: Callable[P, R],
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    parallel: bool = True,
) -> FunctionTool[P, R]: ...


@overload
def tool(
    function: None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    parallel: bool = True,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    parallel: bool = True,
) -> Any:
    """Make a tool of a function; also as a decorator, with or without arguments.

    The model sees the annotations and defaults as a JSON Schema, and the texts of the docstring
    (Google, numpy or reST). `Annotated[T, "text"]` describes a parameter and wins over the
    docstring. Parameters that are annotated `ToolCall` or `AbortSignal` are handed in; the model
    does not see them.

    * `name`: None is the name of the function. `description`: None is that of its docstring.
    * `approve`: `run` and `rounds` ask their `approve` function before each call.
    * `parallel`: False makes all calls of a round run one after the other if one is of this tool.

    Raises `ConfigurationError` for a function that cannot be described, naming the parameter, and
    without the extra `pi-native[tools]`.

        >>> from typing import Annotated
        >>> @tool(approve=True)
        ... def delete(path: Annotated[str, "a file"], *, force: bool = False) -> str:
        ...     "Delete a file."
        ...     return f"{path} is gone"
        >>> delete.parameters["properties"]["path"]
        {'type': 'string', 'description': 'a file'}
    """
    settings: dict[str, Any] = {
        "name": name,
        "description": description,
        "approve": approve,
        "parallel": parallel,
    }
    if function is None:
        return functools.partial(FunctionTool, **settings)
    return FunctionTool(function, **settings)


def as_tools(tools: Sequence[Any]) -> list[Tool | FunctionTool[..., Any]]:
    """Return tools and functions as tools.

    Raises `TypeError` for anything else, and `ConfigurationError` for a function that cannot be
    described, and for two tools of one name.
    """
    if callable(tools) or isinstance(tools, Tool):
        raise TypeError(f"tools must be a list, not {type(tools).__name__}: tools=[...]")
    found = [_as_tool(item) for item in tools]
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two tools have the name {name!r}; tool(..., name=...)")
    return found


def misfit_text(exc: MisfitError) -> str:
    """Return the result for arguments that do not fit."""
    return f"{exc}\n{_CALL_AGAIN}"


def _as_tool(item: Any) -> Tool | FunctionTool[..., Any]:
    if isinstance(item, (Tool, FunctionTool)):
        return item
    if not callable(item):
        kind = type(item).__name__
        raise TypeError(f"each of the tools must be a Tool or a function, not {kind}")
    return FunctionTool(item)


def _check_arguments(function: Any, *, approve: Any, parallel: Any) -> None:
    if isinstance(function, FunctionTool):
        raise ConfigurationError(f"{function.name!r} is a tool already")
    if not callable(function):
        raise TypeError(f"a tool is made of a function, not of {type(function).__name__}")
    for name, value in {"approve": approve, "parallel": parallel}.items():
        if not isinstance(value, bool):
            hint = "; the function that approves is an argument of run" if callable(value) else ""
            raise TypeError(f"{name} must be True or False, not {type(value).__name__}{hint}")


def _check_texts(**texts: object) -> None:
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")


def _name(function: Any, given: str | None) -> str:
    own = _documented(function)
    name = getattr(own, "__name__", None) if given is None else given
    if not isinstance(name, str):
        raise ConfigurationError(f"{function!r:.60} has no name: tool(..., name=...) gives it one")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a tool cannot be named {name!r:.80}: tool(..., name=...) gives it a name of at most "
            f"64 letters, digits, '_' and '-'"
        )
    for is_kind, kind in _NOT_CALLED.items():
        if is_kind(own):
            raise ConfigurationError(
                f"tool {name!r} is {kind} function; a tool is a plain function that returns its "
                f"result"
            )
    return name


_NOT_CALLED: dict[Callable[[object], bool], str] = {
    inspect.iscoroutinefunction: "an async",
    inspect.isasyncgenfunction: "an async generator",
    inspect.isgeneratorfunction: "a generator",
}


def _documented(function: Any) -> Any:
    """Return the function itself for a `functools.partial` of it."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _restore(
    function: Any, name: str, description: str, approve: bool, parallel: bool
) -> FunctionTool[..., Any]:
    return FunctionTool(
        function, name=name, description=description, approve=approve, parallel=parallel
    )
