"""A request as the fake gateway received it, and what happened to it."""

import json
import threading
import time
import uuid
from functools import cached_property
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import attrs

__all__ = [
    "STREAM_PATH",
    "BadRequest",
    "RecordedRequest",
    "asked_model",
    "check_turn",
]

STREAM_PATH = "/v1/pi/stream"


class BadRequest(Exception):
    """The gateway refuses the request; the text says why."""


_SHOWN = 60  # characters of a prompt


@attrs.define(eq=False, slots=False, repr=False)
class RecordedRequest:
    """A request as it was received.

    `model`, `context`, `messages`, `system_prompt`, `last_user_text` and `options` are plain JSON
    with the names of the wire, so that a failed `assert` shows the difference.

    `headers` is that of the standard library: names have no case, a missing one is None.
    `connection` is the number of its TCP connection; the first one of the gateway is 1.
    `request_id` is the `x-request-id` of the response.
    `arrived_at` is `time.monotonic()` when the request was complete.

    Three events show what happened next, so that no test has to sleep: `answered` is set when the
    whole response has been sent, `stalled` when a `Stall` stops it, `client_gone` when the client
    closed the connection, during the response or later. `release()` sets `released`.
    """

    method: str
    target: str
    headers: HTTPMessage
    body: bytes = b""
    connection: int = 0
    request_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    arrived_at: float = attrs.field(factory=time.monotonic)
    answered: threading.Event = attrs.field(factory=threading.Event, init=False)
    stalled: threading.Event = attrs.field(factory=threading.Event, init=False)
    client_gone: threading.Event = attrs.field(factory=threading.Event, init=False)
    released: threading.Event = attrs.field(factory=threading.Event, init=False)

    def __repr__(self) -> str:
        about = f" {self.model!r}, {self.last_user_text!r:.{_SHOWN}}" if self.model else ""
        return f"<{self.method} {self.target}{about}>"

    @property
    def path(self) -> str:
        """The target without query and host."""
        return urlsplit(self.target).path

    @cached_property
    def json(self) -> Any:
        """The body as JSON data. Raises ValueError if it is not JSON."""
        return json.loads(self.body)

    @property
    def model(self) -> str:
        """The model of the turn, usually `provider/id`; empty for a page."""
        return asked_model(self.body) or ""

    @property
    def context(self) -> dict[str, Any]:
        """The conversation, as wire JSON."""
        return dict(self.json["context"])

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the conversation, as wire JSON, the oldest first."""
        return list(self.context["messages"])

    @property
    def system_prompt(self) -> list[str]:
        """The system prompt; empty if there is none."""
        return list(self.context.get("systemPrompt") or [])

    @property
    def last_user_text(self) -> str | None:
        """The text of the last user message, its text blocks joined; None if there is none."""
        context = _parsed(self.body).get("context")
        messages = context.get("messages") if isinstance(context, dict) else None
        said = [_text_of(message) for message in messages or () if _is_users(message)]
        return said[-1] if said else None

    @property
    def options(self) -> dict[str, Any]:
        """The options, as wire JSON; empty if there are none."""
        return dict(self.json.get("options") or {})

    def release(self) -> None:
        """End the stall of this request, or prevent a later one."""
        self.released.set()


def check_turn(request: RecordedRequest) -> None:
    """Raise BadRequest, in the words of the real gateway, for a body that it refuses."""
    try:
        body = request.json
    except ValueError as exc:
        raise BadRequest(f"Invalid JSON body: SyntaxError: {exc}") from exc
    if not isinstance(body, dict):
        raise BadRequest("Request body must be a JSON object")
    if _model_of(body) is None:
        raise BadRequest("Missing `modelId` (or `model.id`) field")
    _check_context(body.get("context"))


def asked_model(body: bytes) -> str | None:
    """Return the model that a body names, or None."""
    return _model_of(_parsed(body))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _is_users(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content or ())


def _model_of(body: dict[str, Any]) -> str | None:
    model = body.get("model")
    nested = model.get("id") if isinstance(model, dict) else None
    names = (body.get("modelId"), model, nested)
    return next((name for name in names if isinstance(name, str) and name), None)


def _check_context(context: Any) -> None:
    if not isinstance(context, dict):
        raise BadRequest("Missing `context` object")
    if not isinstance(context.get("messages"), list):
        raise BadRequest("`context.messages` must be an array")
    if not isinstance(context.get("systemPrompt", []), list):
        raise BadRequest("`context.systemPrompt` must be an array of strings when present")
    if not isinstance(context.get("tools", []), list):
        raise BadRequest("`context.tools` must be an array when present")
