"""The standard suites of LangChain for chat models, against the fake gateway.

Skipped are the tests of JSON mode, which the gateway drops (structured output is a tool call here);
of PDF and audio, which the protocol does not have; of Anthropic's own blocks, which only its own
client sends; and of recorded HTTP, whose place the fake gateway takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pi_native.testing import FakeGateway

from ...langchain_suite import PNG, answer, mark_asynchronous
from ..calls import KEY

reason = "needs the extra [integrations]"
unit_tests = pytest.importorskip("langchain_tests.unit_tests", reason=reason)
integration_tests = pytest.importorskip("langchain_tests.integration_tests", reason=reason)
langchain = pytest.importorskip("pi_native.integrations.langchain", reason=reason)


class TestUnit(unit_tests.ChatModelUnitTests):
    @property
    def chat_model_class(self) -> Any:
        """Return the class under test."""
        return langchain.ChatPiNative

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Return the arguments without which there is no model."""
        return {"model": "acme/small"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """Return what a model reads from the environment: nothing before its first turn."""
        return {"PI_NATIVE_API_KEY": KEY}, {"model": "acme/small"}, {"api_key": None}

    @pytest.mark.xfail(reason="needs a snapshot file; test_langchain.py has a test in its place")
    def test_serdes(self) -> None:
        """Compare the model as JSON with a snapshot."""
        pytest.fail("there is no snapshot")


@mark_asynchronous
class TestIntegration(integration_tests.ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _gateway(self, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        gateway.default = answer
        self.gateway = gateway
        # The tests of images fetch one from the network.
        image = SimpleNamespace(content=PNG)
        monkeypatch.setattr("httpx.get", lambda *_, **__: image)

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest, _gateway: None) -> Iterator[Any]:
        """Return the model, and close its connections, which pytest would keep open."""
        settings = {**self.standard_chat_model_params, **self.chat_model_params}
        model = langchain.ChatPiNative(**settings, **(getattr(request, "param", None) or {}))
        yield model
        model.close()

    @property
    def chat_model_class(self) -> Any:
        """Return the class under test."""
        return langchain.ChatPiNative

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Return the arguments for a model of the fake gateway."""
        return {"model": "acme/small", "base_url": self.gateway.url, "api_key": KEY}

    @property
    def model_override_value(self) -> str:
        """Return a model that a single call may name."""
        return "acme/large"

    @property
    def supports_image_inputs(self) -> bool:
        """Return True: images can be sent, as base64."""
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        """Return True: a tool's result may have images."""
        return True
