"""`ChatPiNative` at the real gateway: LangChain's standard suite, and signatures of thinking.

Skipped are the tests of JSON mode, PDF, audio, Anthropic's own blocks and recorded HTTP, for the
reasons in tests/loopback/integrations/test_langchain_standard.py. The tests with images fetch one
from the network; here it is a local one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from launch import Gateway

from tests.langchain_suite import PNG, mark_asynchronous

reason = "needs the extra [integrations]"
suites = pytest.importorskip("langchain_tests.integration_tests", reason=reason)
messages = pytest.importorskip("langchain_core.messages", reason=reason)
ChatPiNative = pytest.importorskip("pi_native.integrations.langchain", reason=reason).ChatPiNative

pytestmark = pytest.mark.gateway

SIGNATURE = "Zmlyc3Qgc2lnbmF0dXJl"


@mark_asynchronous
class TestStandard(suites.ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _gateway(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = gateway
        image = SimpleNamespace(content=PNG)
        monkeypatch.setattr("httpx.get", lambda *_, **__: image)

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest, _gateway: None) -> Iterator[Any]:
        """Return the model, and close its connections, which pytest would keep open."""
        settings = {**self.standard_chat_model_params, **self.chat_model_params}
        model = ChatPiNative(**settings, **(getattr(request, "param", None) or {}))
        yield model
        model.close()

    @property
    def chat_model_class(self) -> Any:
        """Return the class under test."""
        return ChatPiNative

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Return the arguments for a model that uses tools as the prompts of the suite expect."""
        return {
            "model": "fake/agent",
            "base_url": self.gateway.url,
            "api_key": self.gateway.token,
        }

    @property
    def model_override_value(self) -> str:
        """Return a model that a single call may name."""
        return "fake/tokens"

    @property
    def supports_image_inputs(self) -> bool:
        """Return True: images can be sent, as base64."""
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        """Return True: a tool's result may have images."""
        return True


def script(gateway: Gateway, *blocks: dict[str, Any]) -> None:
    """Script one turn of the fake Anthropic, and a second one."""
    turns = [{"stop": "stop", "blocks": blocks}, {"stop": "stop", "blocks": [{"text": "Again."}]}]
    requests.put(f"{gateway.control}/script", json=turns, timeout=30).raise_for_status()


@pytest.mark.parametrize("streamed", [False, True])
def test_the_signature_reaches_the_provider(
    streamed: bool, gateway: Gateway, upstream: Any
) -> None:
    """Thinking of a stored answer goes back to the provider with its signature."""
    script(gateway, {"thinking": "Let me see.", "signature": SIGNATURE}, {"text": "Seen."})
    model = ChatPiNative(
        model="scripted/claude-sonnet-4-5",
        base_url=gateway.url,
        api_key=gateway.token,
        reasoning="high",
    )
    if streamed:
        answer, *chunks = model.stream("Look")
        for chunk in chunks:
            answer += chunk
    else:
        answer = model.invoke("Look")
    assert answer.content_blocks[0]["extras"] == {"signature": SIGNATURE}
    stored = json.loads(json.dumps(messages.messages_to_dict([answer])))
    (answer,) = messages.messages_from_dict(stored)
    assert model.invoke(["Look", answer, "More"]).text == "Again."
    model.close()
    sent = upstream.calls[-1]["body"]["messages"][1]["content"]
    assert sent[0] == {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}
