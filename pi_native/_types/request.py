"""What a request names besides its options: a model, a conversation, tools.

As with messages, the annotations say what the protocol promises, and what is missing is None.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from attrs import Attribute, define, field

from .base import WireObject, names_only
from .messages import Message

Modality: TypeAlias = Literal["text", "image"]


@define(eq=False, repr=False, kw_only=True)
class ModelCost(WireObject):
    """Prices, in US dollars per million tokens."""

    input: float = 0
    output: float = 0
    cache_read: float = 0
    cache_write: float = 0


@define(eq=False, repr=False)
class Model(WireObject):
    """A model, and the gateway that it is reached through.

    The gateway knows it as "provider/id". `headers` go with every request for this model.
    """

    id: str
    provider: str
    api: str = "pi-native"
    base_url: str | None = None
    headers: dict[str, str] | None = field(default=None, kw_only=True, repr=names_only)
    name: str | None = field(default=None, kw_only=True)
    transport: Literal["pi-native"] | None = field(default=None, kw_only=True)
    reasoning: bool | None = field(default=None, kw_only=True)
    input: list[Modality] | None = field(default=None, kw_only=True)
    cost: ModelCost | None = field(default=None, kw_only=True)
    context_window: int | None = field(default=None, kw_only=True)
    max_tokens: int | None = field(default=None, kw_only=True)


@define(eq=False, repr=False)
class Tool(WireObject):
    """A tool that the model may call.

    `parameters` is a JSON Schema. What it is called with comes as `ToolCall`s; making the call, and
    sending a `ToolResultMessage`, is the program's part.

        >>> zone = {"type": "object", "properties": {"zone": {"type": "string"}}}
        >>> clock = Tool("clock", "Tells the time in a zone.", zone)
        >>> message = Client().complete("acme/clocks", "What time is it?", tools=[clock])
        >>> [(call.name, call.arguments) for call in message.tool_calls]
        [('clock', {'zone': 'UTC'})]
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool | None = field(default=None, kw_only=True)
    defer_loading: bool | None = field(default=None, kw_only=True)
    custom_format: dict[str, Any] | None = field(default=None, kw_only=True)
    custom_wire_name: str | None = field(default=None, kw_only=True)
    native: dict[str, Any] | None = field(default=None, kw_only=True)
    examples: list[Any] | None = field(default=None, kw_only=True)


def _not_a_string(_: object, attribute: Attribute[Any], value: object) -> None:
    # A string is a sequence of strings, and would be sent letter by letter.
    if isinstance(value, str):
        raise TypeError(f"{attribute.name} is a list of strings, not one string: [{value!r:.60}]")


@define(eq=False, repr=False)
class Context(WireObject):
    """The conversation so far, the instructions before it, and the tools that may be called."""

    messages: list[Message]
    system_prompt: list[str] | None = field(default=None, kw_only=True, validator=_not_a_string)
    tools: list[Tool] | None = field(default=None, kw_only=True)
