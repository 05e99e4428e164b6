"""The message of an answer as a framework keeps it, next to the framework's own form of it.

The kept message is sent again unchanged, with its signatures, as long as the framework's form still
has the same text and calls. A framework may edit its form, and the edit must be sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pi_native import AssistantMessage, DecodeError, Message, from_wire, to_wire

from ._characters import encodable_json

NAME = "pi_native"
"""The name under which a framework's metadata has the kept message."""


def keep(messages: Sequence[Message], text: str, calls: Sequence[str | None]) -> dict[str, Any]:
    """Return JSON data with the messages of an answer.

    `text` and `calls`, the ids of the calls, are those of the framework's form of the answer.
    """
    wire = [encodable_json(to_wire(message)) for message in messages]
    return {"messages": wire, "form": _digest(text, calls)}


def restore(kept: Any, text: str, calls: Sequence[str | None]) -> list[Message]:
    """Return the messages that `keep` kept; none if the text or the calls are others now."""
    try:
        if kept["form"] != _digest(text, calls):
            return []
        messages = [from_wire(data, Message) for data in kept["messages"]]
    except (LookupError, TypeError, DecodeError):
        return []
    return messages if any(isinstance(m, AssistantMessage) for m in messages) else []


def _digest(text: str, calls: Sequence[str | None]) -> str:
    form = json.dumps([text, *calls])  # in ASCII
    return hashlib.sha256(form.encode()).hexdigest()
