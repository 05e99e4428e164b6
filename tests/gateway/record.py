"""Record the responses of the real gateway: write tests/data again.

    python tests/gateway/record.py

It imports nothing of pi_native, because pi_native is checked against these transcripts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests
from launch import Gateway, running_gateway

DATA = Path(__file__).resolve().parents[1] / "data"

UNICODE = (
    "é is e\u0301, 日本語, עברית, 😀 and 👩\u200d👩\u200d👧, a flag 🇨🇭, "
    'a "quote", a back\\slash, a tab\t, line ends \r\n and \u2028\u2029 and \x85, '
    "NUL \0, DEL \x7f, BOM \ufeff."
)

USAGE = {
    "input": 120,
    "output": 40,
    "cacheRead": 900,
    "cacheWrite": 0,
    "totalTokens": 1060,
    "cost": {"input": 0.0006, "output": 1e-7, "cacheRead": 0, "cacheWrite": 0, "total": 0.0006001},
    "contextTokens": 1060,
    "reasoningTokens": 12,
    "cttl": {"ephemeral5m": 100},
    "server": {"webSearch": 1},
    "tomorrow": {"tokens": None},
}


def message(content: list[Any], **more: Any) -> dict[str, Any]:
    """Return an assistant message with that content."""
    return {
        "role": "assistant",
        "content": content,
        "api": "script",
        "provider": "openai",
        "model": "events",
        "usage": USAGE,
        "stopReason": "stop",
        "timestamp": 1_700_000_000_000,
        **more,
    }


def every_block() -> list[dict[str, Any]]:
    """Return the events of a turn with each type of block, known and unknown."""
    text = {"type": "text", "text": "Found it.", "textSignature": "ts"}
    thinking = {"type": "thinking", "thinking": "Hm.", "thinkingSignature": "s", "itemId": "i-1"}
    redacted = {"type": "redactedThinking", "data": "b3BhcXVl"}
    image = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png", "detail": "low"}
    call = {
        "type": "toolCall",
        "id": "call_1",
        "name": "look",
        "arguments": {"at": [1, 1.0, 1e21, None], "deep": {"": "empty key"}},
        "thoughtSignature": "th",
        "providerMetadata": None,
    }
    fallback = {"type": "fallback", "from": {"model": "big"}, "to": {"model": "small"}}
    server_tool = {"type": "anthropicServerTool", "block": {"type": "server_tool_use", "id": "st"}}
    unknown = {"type": "hologram", "data": {"depth": 3}, "note": None}
    blocks = [thinking, redacted, fallback, server_tool, unknown, image, text, call]
    whole = message(
        blocks,
        stopReason="toolUse",
        stopDetails=None,
        responseId="resp_1",
        upstreamProvider="someone",
        disabledFeatures=["fast"],
        toolCallAbortMessages={"call_1": "too slow"},
        duration=12.5,
        ttft=1,
        tomorrow=[True, False, None],
    )
    empty = message([])
    seen, said = message(blocks[:6]), message(blocks[:7])
    return [
        {"type": "start", "partial": empty},
        {"type": "inference_admission", "queue": {"position": 1}, "partial": empty},
        {"type": "thinking_start", "contentIndex": 0, "partial": empty},
        {"type": "thinking_delta", "contentIndex": 0, "delta": "Hm.", "partial": empty},
        {"type": "thinking_end", "contentIndex": 0, "content": "Hm.", "partial": empty},
        {"type": "image_end", "contentIndex": 5, "content": image, "partial": seen},
        {"type": "text_start", "contentIndex": 6, "partial": seen},
        {"type": "text_delta", "contentIndex": 6, "delta": "Found it.", "partial": said},
        {"type": "text_end", "contentIndex": 6, "content": "Found it.", "partial": said},
        {"type": "toolcall_start", "contentIndex": 7, "partial": message(blocks)},
        {"type": "toolcall_delta", "contentIndex": 7, "delta": "{}", "partial": message(blocks)},
        {"type": "toolcall_end", "contentIndex": 7, "toolCall": call, "partial": message(blocks)},
        {"type": "done", "reason": "toolUse", "message": whole},
    ]


def aborted() -> list[dict[str, Any]]:
    """Return the events of a turn that the gateway aborted."""
    said = message([{"type": "text", "text": "I was about"}])
    gone = {**said, "stopReason": "aborted", "errorMessage": "Request was aborted"}
    return [
        {"type": "start", "partial": message([])},
        {"type": "text_start", "contentIndex": 0, "partial": said},
        {"type": "text_delta", "contentIndex": 0, "delta": "I was about", "partial": said},
        {"type": "error", "reason": "aborted", "error": gone},
    ]


def broken() -> list[dict[str, Any]]:
    """Return the events of a turn in which the gateway itself fails after some text."""
    return [*aborted()[:3], {"fail": "the provider's stream broke inside the gateway"}]


TURNS: dict[str, tuple[str, str]] = {
    "text": ("fake/tokens", "The quick brown fox jumps over the lazy dog."),
    "text-at-once": ("mock/text", "hi"),
    "text-length": ("mock/length", "hi"),
    "thinking": ("fake/thinking", "hi"),
    "thinking-signed": ("mock/thinking", "hi"),
    "tools": ("fake/tools", "write it down"),
    "mixed": ("fake/mixed", "the weather in Oslo and Rome"),
    "every-block": ("openai/events", json.dumps(every_block())),
    "unicode": ("fake/units", UNICODE),
    "empty": (
        "openai/events",
        json.dumps([{"type": "done", "reason": "stop", "message": message([])}]),
    ),
    "error": ("mock/error", "hi"),
    "error-429": ("fake/429", "hi"),
    "error-500": ("fake/500", "hi"),
    "error-died": ("fake/die", "hi"),
    "error-cut": ("fake/cut", "hi"),
    "error-aborted": ("openai/events", json.dumps(aborted())),
    "error-no-message": ("mock/broken", "hi"),
    "error-no-message-late": ("openai/events", json.dumps(broken())),
    "hung-up": ("fake/forever", "hi"),
}

CALLS: dict[str, tuple[str, str, Any]] = {
    "health": ("GET", "/healthz", None),
    "models": ("GET", "/v1/models", None),
    "usage": ("GET", "/v1/usage", None),
    "credentials": ("GET", "/v1/credentials/check", None),
    "no route": ("GET", "/v1/nowhere", None),
    "unknown model": ("POST", "/v1/pi/stream", {"modelId": "no/such", "context": {"messages": []}}),
    "no context": ("POST", "/v1/pi/stream", {"modelId": "mock/text"}),
    "no credential": (
        "POST",
        "/v1/pi/stream",
        {"modelId": "unknown/keyless", "context": {"messages": []}},
    ),
    "not JSON": ("POST", "/v1/pi/stream", "{"),
}


def turn(gateway: Gateway, session: requests.Session, model: str, prompt: str) -> bytes:
    """Return the body of a turn without the chunked encoding; cut an endless one."""
    user = {"role": "user", "content": prompt, "timestamp": 1_700_000_000_000}
    body = {"modelId": model, "context": {"messages": [user]}, "options": {}, "stream": True}
    url = f"{gateway.url}/v1/pi/stream"
    with session.post(url, json=body, stream=True, timeout=60) as response:
        response.raise_for_status()
        if model != "fake/forever":
            return response.raw.read(decode_content=False)
        return response.raw.read(3000, decode_content=False)


def call(gateway: Gateway, session: requests.Session, method: str, path: str, body: Any) -> Any:
    """Send a request, and return the status, the headers and the body of the response."""
    data = body if isinstance(body, str) else json.dumps(body) if body is not None else None
    headers = {"Content-Type": "application/json"}
    answer = session.request(method, gateway.url + path, data=data, headers=headers, timeout=60)
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.text}


def main() -> None:
    """Write the transcripts and the other calls."""
    with running_gateway() as gateway, requests.Session() as session:
        session.trust_env = False
        session.headers.update({"Accept": "text/event-stream", "Accept-Encoding": "identity"})
        calls = {"unauthorized": call(gateway, session, "GET", "/v1/models", None)}
        session.headers["Authorization"] = f"Bearer {gateway.token}"
        calls |= {name: call(gateway, session, *asked) for name, asked in CALLS.items()}
        for name, (model, prompt) in TURNS.items():
            body = turn(gateway, session, model, prompt)
            (DATA / f"{name}.sse").write_bytes(body)
            print(f"{len(body):8,} {name}.sse")
        text = json.dumps(calls, indent=1, ensure_ascii=False)
        (DATA / "calls.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
