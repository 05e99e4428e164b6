"""The parts of a request other than its options: a model, a conversation, tools.

As with messages, the annotations state what the protocol promises; a missing member is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import Attribute, define, field

from .base import WireObject, names_only
from .messages import Message
from .openai import OpenAIReader

if TYPE_CHECKING:
    from typing_extensions import Self

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
    """A model, and the gateway that serves it.

    The gateway knows it as `full_id`. `headers` go with every request for this model.
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

    @property
    def full_id(self) -> str:
        """The name at the gateway: "provider/id", or the bare id without a provider."""
        return f"{self.provider}/{self.id}" if self.provider else self.id


@define(eq=False, repr=False)
class Tool(WireObject):
    """A tool that the model may call.

    `parameters` is a JSON Schema. The model's calls arrive as `ToolCall` blocks; the program runs
    the tool and sends a `ToolResultMessage`.

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


def _only_messages(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, (list, tuple)):
        kind = type(value).__name__
        raise TypeError(f"{attribute.name} must be a list of messages, not {kind}")
    for index, item in enumerate(value):
        if not isinstance(item, Message):
            hint = "; Context.from_openai converts dicts" if isinstance(item, Mapping) else ""
            kind = type(item).__name__
            raise TypeError(f"{attribute.name}[{index}] must be a message, not {kind}{hint}")


def _not_a_string(_: object, attribute: Attribute[Any], value: object) -> None:
    # A string is a sequence of strings and would be sent letter by letter.
    if isinstance(value, str):
        raise TypeError(f"{attribute.name} is a list of strings, not one string: [{value!r:.60}]")


@define(eq=False, repr=False)
class Context(WireObject):
    """The conversation so far, the instructions before it, and the tools that may be called.

    `from_openai` converts messages in the form of OpenAI's chat API.

        >>> context = Context.from_openai([
        ...     {"role": "system", "content": "Be brief."},
        ...     {"role": "user", "content": "Why is the sky blue?"},
        ... ])
        >>> context.system_prompt, len(context.messages)
        (['Be brief.'], 1)
    """

    messages: list[Message] = field(validator=_only_messages)
    system_prompt: list[str] | None = field(default=None, kw_only=True, validator=_not_a_string)
    tools: list[Tool] | None = field(default=None, kw_only=True)

    @classmethod
    def from_openai(
        cls, messages: Iterable[Any], tools: Iterable[Mapping[str, Any]] | None = None
    ) -> Self:
        """Return a context for messages and tools in the form of OpenAI's chat API.

        Converts text, images in data URLs, tool calls, tool results and system messages. Raises
        `DecodeError`, with the path of each problem, for anything else.
        """
        if isinstance(messages, (str, bytes, Mapping)):
            raise TypeError(f"messages must be a list of dicts, not {type(messages).__name__}")
        reader = OpenAIReader()
        converted = reader.messages(messages)
        arguments = None if tools is None else reader.tools(tools)
        reader.check()
        return cls(
            converted,
            system_prompt=reader.system or None,
            tools=None if arguments is None else [Tool(**each) for each in arguments],
        )
