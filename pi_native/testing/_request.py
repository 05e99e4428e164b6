"""What came in: one request, and what a test may learn about its fate."""

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
    """The request is not one that the gateway could answer; the text says why."""


_SHOWN = 60  # characters of a prompt


@attrs.define(eq=False, slots=False, repr=False)
class RecordedRequest:
    """One request as it came in.

    What a turn asks for is plain JSON here, so that a failed `assert` shows how it differs:
    `model`, `context`, `messages`, `system_prompt`, `last_user_text` and `options`, the names in
    them being the wire's.

    `headers` is the standard library's: names compare without case, an absent one reads as None.
    `connection` is the number of the TCP connection that it came on, 1 being the gateway's first.
    `request_id` is what the answer says in `x-request-id`.
    `arrived_at` is `time.monotonic()` when all of it was in.

    The three events tell a test what happened next, without sleeping:
    `answered` is set when the whole answer has been sent, `stalled` once a `Stall` holds it back,
    and `client_gone` once the client has closed the connection, be it during the answer or later.
    `released` is set by `release()`.
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
        """The target without its query and, as a proxy would see it, its host."""
        return urlsplit(self.target).path

    @cached_property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)

    @property
    def model(self) -> str:
        """The model that was asked for, `provider/id`; empty for a request that names none."""
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
        """The system prompt; empty when there was none."""
        return list(self.context.get("systemPrompt") or [])

    @property
    def last_user_text(self) -> str | None:
        """What the user said last, the texts of a message in blocks joined; None if nothing."""
        context = _parsed(self.body).get("context")
        messages = context.get("messages") if isinstance(context, dict) else None
        said = [_text_of(message) for message in messages or () if _is_users(message)]
        return said[-1] if said else None

    @property
    def options(self) -> dict[str, Any]:
        """The options, as wire JSON; empty when there were none."""
        return dict(self.json.get("options") or {})

    def release(self) -> None:
        """End this request's stall; one that is still to come does not happen."""
        self.released.set()


def check_turn(request: RecordedRequest) -> None:
    """Raise BadRequest for a body that the real gateway turns down, in its words."""
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
    """Return the model that a body asks for, None if it names none."""
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
