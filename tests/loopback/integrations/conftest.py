"""A gateway for the tests of integrations, and turns that they share."""

from __future__ import annotations

import pytest

from pi_native.testing import FakeGateway

from ..calls import KEY

SIGNED = [
    {"type": "thinking", "thinking": "Let me see.", "thinkingSignature": "sig-1"},
    {"type": "redactedThinking", "data": "sealed"},
    {"type": "text", "text": "Seen.", "textSignature": "sig-2"},
]


def signed_turn(content: list[dict[str, object]], stop_reason: str = "stop") -> list[object]:
    """Return the events of a turn whose content arrives with the last event."""
    message = {
        "role": "assistant",
        "content": content,
        "api": "anthropic-messages",
        "provider": "acme",
        "model": "small",
        "usage": {"input": 5, "output": 7, "cacheRead": 3, "cacheWrite": 2, "totalTokens": 17},
        "stopReason": stop_reason,
        "timestamp": 1,
        "providerPayload": {"kept": [1, 2.5, None]},
    }
    return [{"type": "done", "reason": stop_reason, "message": message}]


@pytest.fixture
def gateway_env(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """Put the address and the key of the gateway into the environment."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)
    return gateway
