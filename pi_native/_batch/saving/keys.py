"""The key of a prompt in a save file: a hash of what decides its answer.

A key is `<call>.<prompt>.<count>`: a hash of the arguments that all prompts share, a hash of the
prompt's context, and the number of equal prompts before it. Timestamps and the options of this side
(timeouts, retries, callbacks) do not count.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..._protocol.convert import to_wire
from ..._types.options import StreamOptions, wire_options
from ..._types.request import Context, Model
from ...errors import ConfigurationError

# Limits of the time to wait, which do not change an answer.
_TIMES = ("streamFirstEventTimeoutMs", "streamIdleTimeoutMs", "maxRetryDelayMs")
_CALL_DIGITS = 12
_PROMPT_DIGITS = 24


class KeyMaker:
    """Makes the keys of one call's prompts, in their order."""

    def __init__(self, model: Model, shared: Context, options: StreamOptions, into: Any) -> None:
        wire = {n: v for n, v in wire_options(options).items() if n not in _TIMES}
        data = {
            "model": f"{model.provider}/{model.id}",
            "context": wire_context(shared),
            "options": wire,
            "into": into,
        }
        self.call = _digest(data, _CALL_DIGITS)
        self._counts: dict[bytes, int] = {}

    def key(self, context: Context) -> str:
        """Return the key of the next prompt. Raises `ConfigurationError` if JSON cannot hold it."""
        prompt = self.check(context)
        short = bytes.fromhex(prompt)
        count = self._counts.get(short, 0)
        self._counts[short] = count + 1
        return f"{self.call}.{prompt}.{count}"

    def check(self, context: Context) -> str:
        """Return the hash of a context. Raises `ConfigurationError` if JSON cannot hold it."""
        return _digest(wire_context(context), _PROMPT_DIGITS)


def wire_context(context: Context) -> dict[str, Any]:
    """Return a context as on the wire, without the timestamps of its messages."""
    data = to_wire(context)
    messages = data.get("messages") or []
    bare = [{n: v for n, v in message.items() if n != "timestamp"} for message in messages]
    return {**data, "messages": bare}


def _digest(data: Any, digits: int) -> str:
    try:
        text = json.dumps(data, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"the prompt cannot be written as JSON: {exc}") from exc
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:digits]
