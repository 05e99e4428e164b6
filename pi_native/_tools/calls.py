"""`extract` for a client and for a conversation: from the arguments to the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._client.client import Client
from .._prompts import Tools, context_of, messages_of
from .._schemas.target import make_target
from .._types.gateway import ModelInfo
from .._types.messages import AssistantMessage, Message
from .._types.request import Context, Model
from .extract import Ask, Extractor

if TYPE_CHECKING:
    from .._conversation import Conversation


def extract_with_client(
    client: Client,
    model: str | Model | ModelInfo,
    prompt: Any,
    into: Any,
    *,
    retries: int,
    force: bool | None,
    system: str | Sequence[str] | None,
    tools: Tools | None,
    options: Mapping[str, Any],
) -> Any:
    """Return the value of `Client.extract`."""
    extractor = Extractor(target=make_target(into), retries=retries, force=force)
    context = context_of(prompt, system, tools)
    extractor.check(context.tools, options)
    return extractor.run(asking(client, model), context, options).value


def extract_with_conversation(
    conversation: Conversation,
    into: Any,
    prompt: str | Message | Sequence[Message] | None,
    *,
    retries: int,
    force: bool | None,
    options: Mapping[str, Any],
) -> Any:
    """Return the value of `Conversation.extract`, and add its turns to the history."""
    extractor = Extractor(target=make_target(into), retries=retries, force=force)
    said = [] if prompt is None else messages_of(prompt)
    client, model = conversation._ready()
    options = {"session_id": conversation.session_id, **conversation.options, **options}
    extractor.check(conversation.context.tools, options)
    with conversation._alone():
        context = attrs.evolve(conversation.context, messages=[*conversation.messages, *said])
        extraction = extractor.run(asking(client, model), context, options)
        conversation.messages.extend((*said, *extraction.added))
    return extraction.value


def asking(client: Client, model: str | Model | ModelInfo) -> Ask:
    """Return a function that makes a turn of a context with the options."""

    def ask(context: Context, options: Mapping[str, Any]) -> AssistantMessage:
        return client._start_turn(model, context, options)._final_message_alone()

    return ask
