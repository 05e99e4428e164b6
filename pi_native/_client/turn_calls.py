"""The calls that make one turn: as a stream, and as a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._config import without_endpoint, without_password
from .._prompts import Prompt, Tools, context_of, expect_signal, model_of
from .._protocol.request import merge_headers
from .._threads.abort import AbortSignal
from .._turn.stream import AssistantMessageEventStream
from .._turn.worker import failed_call, start_call
from .._types.gateway import ModelInfo
from .._types.messages import AssistantMessage
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .gateway_calls import GatewayClient

if TYPE_CHECKING:
    import threading

    from typing_extensions import Unpack

    from .._types.options import TurnOptions


class TurnClient(GatewayClient):
    """A client that makes turns."""

    def stream(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Tools | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Unpack[TurnOptions],
    ) -> AssistantMessageEventStream:
        """Start a turn and return its stream at once.

        `model` is "provider/id", a bare id, a `ModelInfo` or a `Model`; `prompt` a string, a
        message, a sequence of messages or a `Context`; `tools` are `Tool` objects and functions,
        which are declared and not run. `options` are fields of `StreamOptions`, and
        `connect_timeout`, `first_event_timeout`, `idle_timeout` and `total_timeout` in seconds.
        Raises `TypeError` only; every other failure comes out of the stream.

            >>> with Client().stream("anthropic/claude-sonnet-4-5", "Why?") as stream:
            ...     for text in stream.text_stream:
            ...         print(text, end="", flush=True)
            Because of the air.
        """
        try:
            context = context_of(prompt, system, tools)
        except ConfigurationError as exc:
            return failed_call(exc)
        return self._start_turn(model, context, {**options, "signal": signal})

    def complete(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Tools | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Unpack[TurnOptions],
    ) -> AssistantMessage:
        """Make a turn and return its message.

        Takes the arguments of `stream`. Raises the errors of the stream, and `ProviderError` for a
        turn that the provider failed.

            >>> Client().complete("anthropic/claude-sonnet-4-5", "Why?", max_tokens=100).text
            'Because of the air.'
        """
        turn = self.stream(model, prompt, system=system, tools=tools, signal=signal, **options)
        return turn._final_message_alone()

    def _start_turn(
        self,
        model: str | Model | ModelInfo,
        context: Context,
        options: Mapping[str, Any],
        keep: Callable[[AssistantMessage], object] | None = None,
    ) -> AssistantMessageEventStream:
        """Start a turn. Raises `TypeError`; a `ConfigurationError` comes out of the stream."""
        try:
            settings = self._options(options)
            expect_signal(settings.signal)
            chosen = self._model(model)
        except ConfigurationError as exc:
            return failed_call(exc)
        transport = self._transport_for(settings)
        own_key = "api_key" not in options and not _has_authorization(chosen.headers)
        renew = self._renewed if own_key else None
        return start_call(chosen, context, settings, transport, keep, renew)

    def _model(self, model: str | Model | ModelInfo) -> Model:
        """Return the model with this client's gateway and headers."""
        model = model_of(model)
        gateway = without_endpoint(self.base_url)
        if model.base_url and without_endpoint(model.base_url) != gateway:
            # The key that would be sent with the request belongs to this client's gateway.
            raise ConfigurationError(
                f"model {model.id!r} names another gateway ({without_password(model.base_url)}) "
                f"than this client ({without_password(self.base_url)})"
            )
        headers = merge_headers(self._attribution, self._headers, model.headers or {})
        return attrs.evolve(model, base_url=gateway, headers=headers)


def _has_authorization(headers: Mapping[str, str] | None) -> bool:
    return any(name.lower() == "authorization" for name in headers or ())
