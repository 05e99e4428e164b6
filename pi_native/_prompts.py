"""Arguments of a call as protocol objects: a prompt as a context, a name as a model.

A wrong type raises `TypeError` here, at the call, and names the argument or the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ._threads.abort import AbortController, AbortSignal
from ._types.content import ImageContent, TextContent
from ._types.gateway import ModelInfo
from ._types.messages import Message, UserMessage
from ._types.request import Context, Model, Tool
from .errors import ConfigurationError

if TYPE_CHECKING:
    from ._tools.function import FunctionTool

Prompt = str | Message | Sequence[Message] | Context
Tools = Sequence[Tool | Callable[..., Any]]


def expect(value: object, kind: type, name: str) -> None:
    """Raise `TypeError` for an argument of another type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def expect_signal(signal: object) -> None:
    """Raise `TypeError` for a signal of another type."""
    if signal is None or isinstance(signal, AbortSignal) or hasattr(signal, "is_set"):
        return
    kind = type(signal).__name__
    hint = "; its signal is meant" if isinstance(signal, AbortController) else ""
    raise TypeError(f"signal must be an AbortSignal or a threading.Event, not {kind}{hint}")


def model_of(model: str | Model | ModelInfo) -> Model:
    """Return a model that was given by name, as a row of the gateway's list, or as itself.

    A name is "provider/id", or a bare id that the gateway resolves. Raises `TypeError` for another
    type, and `ConfigurationError` for a name without an id.
    """
    if isinstance(model, Model):
        return model
    name = model.id if isinstance(model, ModelInfo) else model
    if not isinstance(name, str):
        kind = type(model).__name__
        raise TypeError(f'model must be "provider/id" or a Model or a ModelInfo, not {kind}')
    provider, slash, model_id = name.partition("/")
    if not slash:
        provider, model_id = "", name
    if not model_id or (slash and not provider):
        raise ConfigurationError(f'a model is named "provider/id", not {name!r}')
    return Model(model_id, provider)


def context_of(prompt: Prompt, system: str | Sequence[str] | None, tools: Tools | None) -> Context:
    """Return the context to send: the prompt, instructions and tools.

    Raises `TypeError`, and `ConfigurationError` for tools that cannot be declared.
    """
    context = attrs.evolve(prompt) if isinstance(prompt, Context) else Context(messages_of(prompt))
    if system is not None:
        context.system_prompt = _instructions(system)
    if tools is not None:
        context.tools = declarations(tools_of(tools))
    return context


def tools_of(tools: Tools) -> list[Tool | FunctionTool[..., Any]]:
    """Return tools and functions as tools. Raises `TypeError` and `ConfigurationError`."""
    from ._tools.function import as_tools  # a later package; see test_layers.py

    return as_tools(tools)


def declarations(tools: Sequence[Tool | FunctionTool[..., Any]]) -> list[Tool]:
    """Return the tools as they are sent to the model."""
    return [tool if isinstance(tool, Tool) else tool.declaration for tool in tools]


def messages_of(prompt: str | Message | Sequence[Message]) -> list[Message]:
    """Return a prompt as messages. Raises `TypeError`."""
    if isinstance(prompt, str):
        return [UserMessage(prompt)]
    messages = [prompt] if isinstance(prompt, Message) else prompt
    if not isinstance(messages, Sequence) or not all(isinstance(m, Message) for m in messages):
        words = f"a prompt is a string, messages or a Context, not {prompt!r:.60}"
        raise TypeError(words + _advice(prompt))
    return [*messages]


def _instructions(system: str | Sequence[str]) -> list[str]:
    if not isinstance(system, Sequence):
        kind = type(system).__name__
        raise TypeError(f"system must be a string or a sequence of strings, not {kind}")
    texts = [system] if isinstance(system, str) else list(system)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"system[{index}] must be a string, not {type(text).__name__}")
    return texts


def _advice(prompt: Any) -> str:
    """Return what the most likely wrong prompts should have been."""
    first = prompt[0] if isinstance(prompt, (list, tuple)) and prompt else prompt
    if isinstance(first, (TextContent, ImageContent)):
        return "; blocks go into a UserMessage"
    if isinstance(first, Mapping):
        return (
            "; Context.from_openai(messages) converts a list of dicts with roles, and "
            "from_wire(data, Message) makes a message of a dict of the wire"
        )
    return ""
