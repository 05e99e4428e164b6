"""The facade: one gateway, one key, one pool of connections, and the turns made with them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from ._config import Setting, find_api_key, find_base_url
from ._http.json_call import fetch_json, get
from ._http.timeouts import ARGUMENT, DEFAULT, resolve_timeouts, timeout_origins
from ._http.transport import Transport, shared_transport
from ._protocol.convert import from_wire
from ._protocol.request import Secret, merge_headers, with_bearer
from ._threads.abort import AbortController, AbortSignal
from ._turn.stream import AssistantMessageEventStream
from ._turn.worker import failed_call, start_call
from ._types.content import ImageContent, TextContent
from ._types.gateway import CredentialsCheck, Health, ModelInfo, ModelList, Rows, UsageSnapshot
from ._types.messages import AssistantMessage, Message, UserMessage
from ._types.options import OnIncomplete, StreamOptions
from ._types.request import Context, Model, Tool
from .errors import ConfigurationError

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Executor

    import requests
    from typing_extensions import Self

    from ._batch.batch import Batch
    from ._batch.progress import Progress
    from ._batch.rules.budget import Budget


_CONNECT_SECONDS = 10.0

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item")
Prompt = str | Message | Sequence[Message] | Context


def stream_pi_native(
    model: Model, context: Context, options: StreamOptions | None = None
) -> AssistantMessageEventStream:
    """Send one turn to the gateway that `model.base_url` names; returns its stream at once.

    Nothing is raised here but `TypeError`: whatever goes wrong, a bad configuration included, comes
    out of the stream. One daemon thread does the HTTP. Without a `session` in the options, calls
    share one pool of connections per process.

        >>> model = Model("claude-sonnet-4-5", "anthropic", base_url=gateway.url)
        >>> context = Context([UserMessage("Why is the sky blue?")], system_prompt=["Be brief."])
        >>> stream = stream_pi_native(model, context, StreamOptions(api_key=gateway.api_key))
        >>> stream.result(timeout=60).stop_reason
        'stop'
    """
    _expect(model, Model, "model")
    _expect(context, Context, "context")
    options = StreamOptions() if options is None else options
    _expect(options, StreamOptions, "options")
    expect_signal(options.signal)
    transport = shared_transport() if options.session is None else Transport(options.session)
    return start_call(model, context, options, transport)


class Client:
    """A gateway, and how to talk to it. Times are in seconds.

    `base_url` is taken from the argument, else from `PI_NATIVE_BASE_URL`, else it is
    `http://127.0.0.1:4000`. `api_key` is taken from the argument, else from `PI_NATIVE_API_KEY`,
    else, for a loopback gateway only, from the gateway's own token file.

    * `headers` go with every request; a model's own headers are stronger.
    * `connect_timeout` bounds DNS, TCP and TLS together; `first_event_timeout` the wait for the
      headers, and then for the first event; `idle_timeout` the wait for each further event;
      `total_timeout` the whole turn. None leaves a default in place; 0 turns a limit off.
    * `on_incomplete`: what an answer that ends early is, an "error" or a "done" without content.
    * `session`: a `requests.Session` to send through, instead of the client's own connections.
    * `app`, `install_id` and `hostname` tell the gateway whose tokens are spent.

    One client may serve many threads, and works on in a forked child. It can be pickled; the key
    stays behind then, and is taken from the environment on the other side, unless `pickle_key`.

        >>> with Client(idle_timeout=60) as client:
        ...     message = client.complete("anthropic/claude-sonnet-4-5", "Why is the sky blue?")
        >>> message.text
        'Because of the air.'
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float | None = _CONNECT_SECONDS,
        first_event_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int = 2,
        on_incomplete: OnIncomplete = "error",
        session: requests.Session | None = None,
        app: str = "pi-native-python",
        install_id: str | None = None,
        hostname: str | None = None,
        pickle_key: bool = False,
    ) -> None:
        self.base_url, base_url_origin = find_base_url(base_url, os.environ)
        self._origins = {"base_url": base_url_origin}
        self._find_api_key(api_key)
        self._headers = dict(headers or {})
        self._attribution = _attribution(app, install_id, hostname)
        self._pickle_key = pickle_key
        self._session = session
        self._transport = Transport(session)
        self._defaults: dict[str, Any] = {
            **_milliseconds(
                connect_timeout_ms=connect_timeout,
                stream_first_event_timeout_ms=first_event_timeout,
                stream_idle_timeout_ms=idle_timeout,
                total_timeout_ms=total_timeout,
            ),
            "max_retries": max_retries,
            "on_incomplete": on_incomplete,
        }

    @classmethod
    def from_models_yml(
        cls,
        provider: str | None = None,
        path: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> Self:
        """A client for the gateway that an omp user's `models.yml` names.

        `provider` is the name of a provider there whose transport is pi-native; None stands for
        the only one. `path` is the file; None: the one in `$PI_CODING_AGENT_DIR`, else in
        `~/.omp/agent`. Its `apiKey` is the name of an environment variable, else the key itself;
        without one the key is found as usual. `settings` are further arguments of `Client`.
        Raises `ConfigurationError`, also without PyYAML, which the extra `pi-native[yaml]` brings.
        """
        from ._models_yml import find_provider  # not everybody uses omp

        found = find_provider(provider, path, os.environ)
        headers = {**found.headers, **(settings.pop("headers", None) or {})}
        client = cls(found.base_url, found.api_key, headers=headers, **settings)
        client._origins["base_url"] = found.origin
        if found.api_key is not None:
            client._origins["api_key"] = found.origin
        return client

    @property
    def settings(self) -> list[Setting]:
        """The gateway, whether there is a key, and the timeouts in seconds, each with its origin.

        The key itself is not told. Raises `ConfigurationError` for a timeout that is no number.
        """
        options = StreamOptions(**self._defaults)
        limits = resolve_timeouts(options, os.environ)
        key = "set" if self._api_key else None
        origins = self._origins | timeout_origins(options, os.environ)
        connect = DEFAULT if limits.connect == _CONNECT_SECONDS else ARGUMENT
        total = DEFAULT if limits.total is None else ARGUMENT
        return Rows(
            [
                Setting("base_url", self.base_url, origins["base_url"]),
                Setting("api_key", key, origins["api_key"]),
                Setting("connect_timeout", limits.connect, connect),
                Setting("first_event_timeout", limits.first_event, origins["first_event"]),
                Setting("idle_timeout", limits.idle, origins["idle"]),
                Setting("total_timeout", limits.total, total),
            ]
        )

    def stream(
        self,
        model: str | Model,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Any,
    ) -> AssistantMessageEventStream:
        """Start a turn and return its stream at once.

        `model` is "provider/id" or a `Model`; `prompt` a string, a message, a sequence of messages
        or a `Context`. `options` are fields of `StreamOptions`. Raises `TypeError` only; all else
        comes out of the stream.

            >>> with Client().stream("anthropic/claude-sonnet-4-5", "Why?") as stream:
            ...     for text in stream.text_stream:
            ...         print(text, end="", flush=True)
            Because of the air.
        """
        context = context_of(prompt, system, tools)
        return self._start_turn(model, context, {**options, "signal": signal})

    def complete(
        self,
        model: str | Model,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Any,
    ) -> AssistantMessage:
        """Make a turn and return its message.

        Takes what `stream` takes. Raises what the stream would, and `ProviderError` for a turn
        that the provider failed.

            >>> Client().complete("anthropic/claude-sonnet-4-5", "Why?", max_tokens=100).text
            'Because of the air.'
        """
        turn = self.stream(model, prompt, system=system, tools=tools, signal=signal, **options)
        return turn._result_alone().raise_for_error()

    def map(
        self,
        model: str | Model,
        prompts: Iterable[Prompt],
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        executor: Executor | None = None,
        concurrency: int = 8,
        ordered: bool = True,
        retries: int = 4,
        patience: float = 600.0,
        budget: float | Budget | None = None,
        save: str | os.PathLike[str] | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        progress: bool | Callable[[Progress], object] = False,
        signal: AbortSignal | threading.Event | None = None,
        **options: Any,
    ) -> Batch[str]:
        """Make a turn for each prompt, several at once; return a `Batch` of their results.

        `model`, `system`, `tools` and `options` are those of `complete`; `prompts` is read as turns
        are started, so that it may be a generator.

        * `executor`: any `concurrent.futures.Executor`; None: threads of this process.
          `concurrency`: at most so many turns are in flight; refusals make it fewer for a while.
        * `ordered`: results come in the order of the prompts; False: as they are finished.
        * `retries`: how often a failed turn is sent again. Refusals do not count: refused turns are
          sent again until none was answered for `patience` seconds.
        * `budget`: US dollars, or a `Budget`. No turn starts beyond it.
        * `save`: a file that keeps the answers; the next call with it sends only what is missing.
        * `on_error`: "raise" ends the batch with the first failed turn's error, "keep" makes it a
          result with an `error`.
        * `progress`: True shows it on the screen; a function is called with each `Progress`.
        * `signal` cancels the batch.

        Raises `ConfigurationError`, `TypeError` and `OSError` for bad arguments, before any turn.

            >>> batch = Client().map("acme/parrot", ["Why?", "Why not?"], save="answers.jsonl")
            >>> [result.value for result in batch]
            ['Because of the air.', 'Because of the air.']
        """
        from ._batch.calls import BatchOptions, map_prompts  # a later room; see test_layers.py

        settings = BatchOptions(
            executor=executor,
            concurrency=concurrency,
            ordered=ordered,
            retries=retries,
            patience=patience,
            budget=budget,
            on_error=on_error,
            progress=progress,
            signal=signal,
        )
        return map_prompts(self, model, prompts, settings, save, system, tools, options)

    def map_tasks(
        self,
        task: Callable[[Client, Item], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        concurrency: int = 8,
        ordered: bool = True,
        retries: int = 4,
        patience: float = 600.0,
        budget: float | Budget | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        progress: bool | Callable[[Progress], object] = False,
        signal: AbortSignal | threading.Event | None = None,
    ) -> Batch[R]:
        """Call `task(client, item)` for each item, several at once; return a `Batch` of the values.

        The arguments are those of `map`. A task may make several turns with the client that it is
        given; when one of them is refused, the task runs again from its start. For workers in other
        processes the task must be a function of a module.

            >>> def shout(client, word):
            ...     return client.complete("acme/parrot", word).text.upper()
            >>> [result.value for result in Client().map_tasks(shout, ["Why?"])]
            ['BECAUSE OF THE AIR.']
        """
        from ._batch.calls import BatchOptions, map_items

        settings = BatchOptions(
            executor=executor,
            concurrency=concurrency,
            ordered=ordered,
            retries=retries,
            patience=patience,
            budget=budget,
            on_error=on_error,
            progress=progress,
            signal=signal,
        )
        return map_items(self, task, items, settings)

    def models(self) -> list[ModelInfo]:
        """The models that the gateway offers."""
        answer = self._ask("/v1/models", ModelList)
        return Rows(answer.data or [])

    def health(self) -> Health:
        """Whether the gateway is up, and which version it is. Needs no key."""
        return self._ask("/healthz", Health)

    def usage(self) -> UsageSnapshot:
        """What was used of each provider's limits."""
        return self._ask("/v1/usage", UsageSnapshot)

    def check_credentials(self) -> CredentialsCheck:
        """Have the gateway try each of its credentials. May take a while: one after the other."""
        return self._ask("/v1/credentials/check", CredentialsCheck)

    def close(self) -> None:
        """Close the connections that are kept for the next turn. Running turns run on."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_transport"]
        if not self._pickle_key:
            state["_api_key"] = None
            state["_headers"] = {
                name: value
                for name, value in self._headers.items()
                if name.lower() != "authorization"
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transport = Transport(self._session)
        if self._api_key is None:
            self._find_api_key(None)

    def __copy__(self) -> Self:
        # A copy within the process, unlike a pickle, goes nowhere: the key comes along.
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _transport=Transport(self._session))
        return twin

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self.__copy__()  # what it holds is never changed

    def _find_api_key(self, given: str | None) -> None:
        key, self._origins["api_key"] = find_api_key(given, self.base_url, os.environ)
        self._api_key = None if key is None else Secret(key)

    def _start_turn(
        self,
        model: str | Model,
        context: Context,
        options: Mapping[str, Any],
        keep: Callable[[AssistantMessage], object] | None = None,
    ) -> AssistantMessageEventStream:
        settings = StreamOptions(**{"api_key": self._api_key, **self._defaults, **options})
        expect_signal(settings.signal)
        transport = self._transport_for(settings)
        try:
            chosen = self._model(model)
        except ConfigurationError as exc:
            return failed_call(exc)
        return start_call(chosen, context, settings, transport, keep)

    def _ask(self, path: str, answer: type[T]) -> T:
        """Return what the gateway answers to a GET of `path`, as an `answer`."""
        headers = merge_headers({"Accept": "application/json"}, self._attribution, self._headers)
        limits = resolve_timeouts(StreamOptions(**self._defaults), os.environ)
        request = get(self.base_url, path, with_bearer(headers, self._api_key))
        said = fetch_json(self._transport, request, limits)
        return from_wire(said, answer)

    def _transport_for(self, options: StreamOptions) -> Transport:
        own = self._transport
        return own if options.session is None else Transport(options.session, observe=own.observe)

    def _model(self, model: str | Model) -> Model:
        """The model as it is to be called: at this client's gateway, with this client's headers."""
        if isinstance(model, str):
            model = _parse_model(model)
        if not isinstance(model, Model):
            raise TypeError(f'model must be "provider/id" or a Model, not {type(model).__name__}')
        if model.base_url and model.base_url.rstrip("/") != self.base_url:
            # The key that would go with the request is this gateway's.
            raise ConfigurationError(
                f"model {model.id!r} names another gateway ({model.base_url}) "
                f"than this client ({self.base_url})"
            )
        headers = merge_headers(self._attribution, self._headers, model.headers or {})
        return attrs.evolve(model, base_url=self.base_url, headers=headers)


def _expect(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def expect_signal(signal: object) -> None:
    if signal is None or isinstance(signal, AbortSignal) or hasattr(signal, "is_set"):
        return
    kind = type(signal).__name__
    hint = "; its signal is meant" if isinstance(signal, AbortController) else ""
    raise TypeError(f"signal must be an AbortSignal or a threading.Event, not {kind}{hint}")


def _parse_model(name: str) -> Model:
    provider, slash, model_id = name.partition("/")
    if not (provider and slash and model_id):
        raise ConfigurationError(f'a model is named "provider/id", not {name!r}')
    return Model(model_id, provider)


def context_of(
    prompt: Prompt, system: str | Sequence[str] | None, tools: Sequence[Tool] | None
) -> Context:
    """What goes out: the prompt, below instructions and tools. Raises `TypeError`."""
    context = attrs.evolve(prompt) if isinstance(prompt, Context) else Context(messages_of(prompt))
    if system is not None:
        context.system_prompt = [system] if isinstance(system, str) else list(system)
    if tools is not None:
        context.tools = list(tools)
        for tool in context.tools:
            _expect(tool, Tool, "each of the tools")
    return context


def messages_of(prompt: str | Message | Sequence[Message]) -> list[Message]:
    """A prompt as messages. Raises `TypeError`."""
    if isinstance(prompt, str):
        return [UserMessage(prompt)]
    messages = [prompt] if isinstance(prompt, Message) else prompt
    if not isinstance(messages, Sequence) or not all(isinstance(m, Message) for m in messages):
        words = f"a prompt is a string, messages or a Context, not {prompt!r:.60}"
        raise TypeError(words + _hint(prompt))
    return [*messages]


def _hint(prompt: object) -> str:
    """What the likeliest of the wrong prompts should have been."""
    first = prompt[0] if isinstance(prompt, (list, tuple)) and prompt else prompt
    if isinstance(first, (TextContent, ImageContent)):
        return "; blocks go into a UserMessage"
    if isinstance(first, dict):
        return "; from_wire(data, Message) makes a message of a dict"
    return ""


def _attribution(app: str, install_id: str | None, hostname: str | None) -> dict[str, str]:
    """The headers that say whose tokens are spent, in what a header can carry."""
    named = {"x-omp-app": app, "x-omp-install-id": install_id, "x-omp-hostname": hostname}
    return {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in named.items() if value}


def _milliseconds(**seconds: float | None) -> dict[str, float]:
    given = {name: value for name, value in seconds.items() if value is not None}
    # What is no number is told when it is used, as it is: "5" * 1000 would be a long one.
    return {n: v * 1000 if isinstance(v, (int, float)) else v for n, v in given.items()}
