"""A model of the gateway as llm calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import llm
from llm.parts import StreamEvent

from pi_native import Client, Context, Conversation, PiNativeError, Tool

from ._answers import AnswerWriter, extracted
from ._keys import ALIAS, make_client, stored_key
from ._messages import MessageReader
from ._options import PiOptions, turn_options

PREFIX = "pi/"
ANSWER = "answer"
_ANSWER = "Give the answer to the request. Always give your final answer by calling this tool."
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class PiModel(llm.KeyModel):
    """One model of the gateway's list, under the name `pi/provider/id`."""

    needs_key = ALIAS
    key_env_var = "PI_NATIVE_API_KEY"
    can_stream = True
    Options = PiOptions

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.name: str = row["id"]
        self.model_id = f"{PREFIX}{self.name}"
        tools = row.get("supports_tools") is not False
        self.supports_tools = tools
        self.supports_schema = tools  # the schema of the answer is that of a tool
        modalities = row.get("input_modalities")
        self.attachment_types = (
            _IMAGES if not isinstance(modalities, list) or "image" in modalities else frozenset()
        )

    def get_key(self, explicit_key: str | None = None) -> str | None:
        """Return the key that llm has, or None: the client then finds its own, if it needs one."""
        return self.key or stored_key(explicit_key)

    def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Any, key: str | None = None
    ) -> Iterator[Any]:
        """Make a turn and yield its events. Raises `llm.ModelError`."""
        del stream  # the gateway streams in any case
        try:
            context = MessageReader().context(prompt.messages)
            tools = [_tool(tool) for tool in prompt.tools]
            context.tools = tools or None
            options = _options(prompt, conversation)
            schema = prompt.schema = prompt.schema or _schema_of_chain(prompt, conversation)
            with make_client(key) as client:
                if schema and not tools:
                    yield from self._extract(client, context, schema, options, response)
                else:
                    yield from self._stream(client, context, schema, options, response)
        except PiNativeError as exc:
            raise llm.ModelError(str(exc)) from exc

    def _stream(
        self,
        client: Client,
        context: Context,
        schema: dict[str, Any] | None,
        options: dict[str, Any],
        response: Any,
    ) -> Iterator[StreamEvent]:
        """Make a turn. With tools and a schema, the model answers when it has used the tools."""
        if schema:
            context.tools = [*(context.tools or ()), Tool(ANSWER, _ANSWER, schema)]
        writer = AnswerWriter(response, answer=ANSWER if schema else None)
        with client.stream(self.name, context, **options) as stream:
            yield from writer.events(stream)

    def _extract(
        self,
        client: Client,
        context: Context,
        schema: dict[str, Any],
        options: dict[str, Any],
        response: Any,
    ) -> Iterator[StreamEvent]:
        """Make a turn whose answer fits a schema; a model that answers in words is asked again."""
        before = len(context.messages)
        talk = Conversation(
            client, self.name, system=context.system_prompt, messages=context.messages, **options
        )
        value = talk.extract(schema)
        yield from extracted(response, talk.messages[before:], value)


def _tool(tool: Any) -> Tool:
    schema = tool.input_schema or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", schema)


def _schema_of_chain(prompt: Any, conversation: Any) -> dict[str, Any] | None:
    """Return the schema of the turn that called the tools: llm gives it to that turn only."""
    if not prompt.tool_results or conversation is None or not conversation.responses:
        return None
    schema: dict[str, Any] | None = conversation.responses[-1].prompt.schema
    return schema


def _options(prompt: Any, conversation: Any) -> dict[str, Any]:
    options = turn_options(prompt.options)
    if conversation is not None:
        options.setdefault("session_id", conversation.id)
    return options
