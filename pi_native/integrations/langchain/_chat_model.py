"""The chat model of LangChain: settings and calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from pi_native import AbortController, Client, Context

from ._answers import ChunkWriter, message_of
from ._messages import HistoryReader, tools_of

_SECRET = "api_key"


class ChatPiNative(BaseChatModel):
    """A chat model of LangChain whose turns are made by the gateway. Times are in seconds.

    * `model` is "provider/id".
    * `base_url` and `api_key` are found as those of a `Client` if they are not given.
    * `max_retries` is the number of further attempts of a turn, while no content has arrived.
    * `timeout` limits the whole turn.
    * `stop` are the texts that end an answer.
    * `reasoning` is the effort of thinking, from "minimal" to "max".
    * `options` are further options of `Client.stream`, by their Python names.
    * `streaming` makes `invoke` report tokens to callbacks while they arrive.

    Every one of them but the first, `options` of `Client.stream`, and a `signal` that cancels may
    also be given to a single call.

    A failed turn raises the errors of this package: a `ProviderError` if the provider failed it.
    Leaving `stream()` early cancels the turn, and so does the cancellation of an asynchronous call.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    max_retries: int = 2
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    reasoning: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    streaming: bool = False

    _client: tuple[Any, Client] | None = PrivateAttr(None)

    @field_validator("options")
    @classmethod
    def _no_key(cls, options: dict[str, Any]) -> dict[str, Any]:
        if _SECRET in options:
            raise ValueError(f"the key is the field {_SECRET}: `options` are shown in traces")
        return options

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: LangChain can write the model as JSON, without its key."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields that are not written, and the environment variables that have them."""
        return {_SECRET: "PI_NATIVE_API_KEY"}

    @property
    def _llm_type(self) -> str:
        return "pi-native"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "base_url", "temperature", "max_tokens", "stop", "reasoning", "options")
        return {name: getattr(self, name) for name in names}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params: LangSmithParams = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "pi_native"
        return params

    def close(self) -> None:
        """Close the idle connections to the gateway. Running turns continue."""
        if self._client is not None:
            self._client[1].close()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call.

        `tool_choice` is "auto", "none", "any" (also "required" or True), or the name of a tool.
        Raises `ValueError` for the name of another tool.
        """
        converted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        names = [tool["function"]["name"] for tool in converted if "function" in tool]
        choice = _tool_choice(tool_choice, names)
        if choice is not None:
            kwargs["tool_choice"] = choice
        return super().bind(tools=converted, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        model, context, options = self._turn(messages, stop, kwargs)
        answer = self._gateway().complete(model, context, **options)
        return ChatResult(generations=[ChatGeneration(message=message_of(answer))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        del run_manager  # the base class reports each chunk
        model, context, options = self._turn(messages, stop, kwargs)
        with self._gateway().stream(model, context, **options) as stream:
            for chunk in ChunkWriter().chunks(stream):
                yield ChatGenerationChunk(message=chunk)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        controller = AbortController()
        kwargs.setdefault("signal", controller.signal)
        try:
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        finally:
            controller.abort()  # the thread of a cancelled call would wait for its turn

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        controller = AbortController()
        kwargs.setdefault("signal", controller.signal)
        try:
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                yield chunk
        finally:
            controller.abort()

    def _turn(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[str, Context, dict[str, Any]]:
        """Return the arguments of `Client.stream`. Raises `ConfigurationError`."""
        options: dict[str, Any] = {
            "max_retries": self.max_retries,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "timeout": self.timeout,
            "reasoning": self.reasoning,
            **self.options,
            **given,
        }
        model = options.pop("model", self.model)
        context = HistoryReader().context(messages)
        context.tools = tools_of(options.pop("tools", None))
        options["total_timeout"] = options.pop("timeout")
        options["stop_sequences"] = stop or self.stop or options.get("stop_sequences")
        return model, context, {name: v for name, v in options.items() if v is not None}

    def _gateway(self) -> Client:
        """Return the client, which keeps its connections between turns."""
        key = None if self.api_key is None else self.api_key.get_secret_value()
        settings = (self.base_url, key)
        if self._client is None or self._client[0] != settings:
            client = Client(self.base_url, key, app="pi-native-langchain")
            self._client = (settings, client)
        return self._client[1]

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state for a pickle, which has no key, as that of a `Client`."""
        state: dict[Any, Any] = super().__getstate__()
        state["__dict__"] = {**state["__dict__"], _SECRET: None}
        state["__pydantic_private__"] = {"_client": None}
        return state


def _tool_choice(given: dict[str, Any] | str | bool | None, names: Sequence[str]) -> Any:
    """Return a choice of LangChain as an option of a turn; None: the model decides."""
    if isinstance(given, dict):
        given = given.get("name") or (given.get("function") or {}).get("name") or given.get("type")
    if given is None or given is False:
        return None
    if given is True or given in ("any", "required"):
        return "any"
    if given in ("auto", "none"):
        return given
    if given not in names:
        raise ValueError(f"tool_choice names no tool: {given!r} (expected one of {names})")
    return {"type": "tool", "name": given}
