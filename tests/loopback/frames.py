"""The events of a turn, and the bytes in which a gateway sends them."""

from __future__ import annotations

import json

from .peer import CHUNKED, LAST_CHUNK, chunk

HELLO = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
START = {"type": "start", "partial": {"role": "assistant", "content": []}}
DELTA = {"type": "text_delta", "contentIndex": 0, "delta": "Hello", "partial": HELLO}
FINISHED = {"type": "done", "reason": "stop", "message": {**HELLO, "stopReason": "stop"}}

REFUSAL = {"error": {"type": "some_error", "message": "because"}}  # a body


def frame(event: object) -> bytes:
    """Return an event as one SSE frame; text is not encoded."""
    text = event if isinstance(event, str) else json.dumps(event)
    return b"data: %s\n\n" % text.encode()


# A whole answer, head and all.
WHOLE = CHUNKED + b"".join(map(chunk, map(frame, (DELTA, FINISHED, "[DONE]")))) + LAST_CHUNK
