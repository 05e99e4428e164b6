"""The client: one gateway, one key, one pool of connections, and the turns made with them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import attrs

from ._config import (
    API_KEY_VARIABLE,
    INSTALL_ID_VARIABLE,
    Setting,
    find_api_key,
    find_base_url,
    without_endpoint,
    without_password,
)
from ._http.json_call import fetch_json, get
from ._http.timeouts import ARGUMENT, DEFAULT, resolve_timeouts, timeout_origins
from ._http.transport import Transport, shared_transport
from ._models_yml import find_provider
from ._prompts import Prompt, context_of, expect, expect_signal, model_of
from ._protocol.convert import from_wire
from ._protocol.request import Secret, merge_headers, with_bearer
from ._threads.abort import AbortSignal
from ._turn.stream import AssistantMessageEventStream
from ._turn.worker import failed_call, start_call
from ._types.gateway import CredentialsCheck, Health, ModelInfo, ModelList, Rows, UsageSnapshot
from ._types.messages import AssistantMessage
from ._types.option_checks import check_names, option_names, seconds
from ._types.options import OnIncomplete, StreamOptions
from ._types.request import Context, Model, Tool
from .errors import (
    AuthenticationError,
    ConfigurationError,
    GatewayConnectionError,
    GatewayServerError,
    StreamTimeoutError,
)

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Executor

    import requests
    from typing_extensions import Self, Unpack

    from ._batch.batch import Batch
    from ._batch.options import MapOptions
    from ._batch.progress import Progress
    from ._batch.rules.budget import Budget
    from ._protocol.request import Request
    from ._tools.options import ExtractOptions
    from ._types.options import TurnOptions

_CONNECT_SECONDS = 10.0
_EVENT_TIMEOUT_MS = 250_000
"""First-event and idle timeout; the gateway cuts a silent connection after 255 s."""
_WIRE_MARGIN_MS = 5_000
_LONGEST_POLL_SECONDS = 1.0

# The times of a client and of a turn, in seconds, and the options that they set.
_TIMEOUTS = {
    "connect_timeout": "connect_timeout_ms",
    "first_event_timeout": "stream_first_event_timeout_ms",
    "idle_timeout": "stream_idle_timeout_ms",
    "total_timeout": "total_timeout_ms",
}

_SENT_TIMEOUTS = {"stream_first_event_timeout_ms", "stream_idle_timeout_ms"}

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item")


def stream_pi_native(
    model: Model, context: Context, options: StreamOptions | None = None
) -> AssistantMessageEventStream:
    """Send one turn to the gateway at `model.base_url` and return its stream at once.

    Raises `TypeError` only: every other failure, a bad configuration included, comes out of the
    stream. One daemon thread does the HTTP. Without a `session` in the options, calls share one
    pool of connections per process.

        >>> model = Model("claude-sonnet-4-5", "anthropic", base_url=gateway.url)
        >>> context = Context([UserMessage("Why is the sky blue?")], system_prompt=["Be brief."])
        >>> stream = stream_pi_native(model, context, StreamOptions(api_key=gateway.api_key))
        >>> stream.result(timeout=60).stop_reason
        'stop'
    """
    expect(model, Model, "model")
    expect(context, Context, "context")
    options = StreamOptions() if options is None else options
    expect(options, StreamOptions, "options")
    expect_signal(options.signal)
    transport = shared_transport() if options.session is None else Transport(options.session)
    return start_call(model, context, options, transport)


class Client:
    """A gateway, its key, and its connections. Times are in seconds.

    `base_url` is the argument, else `PI_NATIVE_BASE_URL`, else `http://127.0.0.1:4000`. `api_key`
    is the argument, else the content of `api_key_file`, else `PI_NATIVE_API_KEY`, else the content
    of the file that `PI_NATIVE_API_KEY_FILE` names, else, for a loopback gateway only, of the
    gateway's own token file. A key from a file is read again after a 401.

    * `headers` are sent with every request; a model's own headers override them.
    * `connect_timeout` limits DNS, TCP and TLS together; `first_event_timeout` the wait for the
      headers, and then for the first event; `idle_timeout` the wait for each further event;
      `total_timeout` the whole turn. None leaves the default in place, 250 s for events; 0 turns a
      limit off.
    * `on_incomplete`: the outcome of a response that ends early, an "error" or a "done" without
      content.
    * `session`: a `requests.Session` to send through, instead of the client's own connections.
    * `app`, `install_id` (else `PI_NATIVE_INSTALL_ID`) and `hostname` tell the gateway whose tokens
      are spent. Without an `install_id` the gateway books them to itself.

    One client may serve many threads, and works in a forked child. A pickle has no key, unless
    `pickle_key`; the other process finds the key in its own environment.

    Raises `TypeError` for a `base_url` or key that is no string, and `ConfigurationError` for a
    `base_url` that is no URL, and for a key that cannot be read or sent.

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
        api_key_file: str | os.PathLike[str] | None = None,
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
        found, origin = find_base_url(base_url, os.environ)
        self.base_url: str = found
        self._origins = {"base_url": origin}
        self._api_key_file = api_key_file
        self._find_api_key(api_key)
        self._headers = dict(headers or {})
        install_id = install_id or os.environ.get(INSTALL_ID_VARIABLE)
        self._attribution = _attribution(app, install_id, hostname)
        self._pickle_key = pickle_key
        self._session = session
        self._transport = Transport(session)
        self._limits: dict[str, float | None] = {
            "connect_timeout": connect_timeout,
            "first_event_timeout": first_event_timeout,
            "idle_timeout": idle_timeout,
            "total_timeout": total_timeout,
        }
        self._defaults: dict[str, Any] = {
            "max_retries": max_retries,
            "on_incomplete": on_incomplete,
            "event_timeout_ms": _EVENT_TIMEOUT_MS,
            "wire_timeout_margin_ms": _WIRE_MARGIN_MS,
        }

    @classmethod
    def from_models_yml(
        cls,
        provider: str | None = None,
        path: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a client for the gateway in an omp user's `models.yml`.

        `provider` is the name of a provider whose transport is pi-native; None is the only one, or
        any one when all have the same gateway and key. `path` is the file; None is the one in
        `$PI_CODING_AGENT_DIR`, else in omp's directory (`~/.omp/agent`, or that of omp's profile).
        Its `apiKey` is the name of an environment variable, else the key itself; without one the
        key is found as for any client. `settings` are further arguments of `Client`. Raises
        `ConfigurationError`, also without PyYAML, which the extra `pi-native[yaml]` installs.
        """
        found = find_provider(provider, path, os.environ)
        headers = {**found.headers, **(settings.pop("headers", None) or {})}
        client = cls(found.base_url, found.api_key, headers=headers, **settings)
        client._origins["base_url"] = found.origin
        if found.api_key is not None:
            client._origins["api_key"] = found.origin
        return client

    @property
    def settings(self) -> list[Setting]:
        """The gateway, "set" for a key, and the timeouts in seconds, each with its origin.

        Raises `ConfigurationError` for a timeout that is no number.
        """
        options = self._options({})
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
        model: str | Model | ModelInfo,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Unpack[TurnOptions],
    ) -> AssistantMessageEventStream:
        """Start a turn and return its stream at once.

        `model` is "provider/id", a bare id, a `ModelInfo` or a `Model`; `prompt` a string, a
        message, a sequence of messages or a `Context`. `options` are fields of `StreamOptions`, and
        `connect_timeout`, `first_event_timeout`, `idle_timeout` and `total_timeout` in seconds.
        Raises `TypeError` only; every other failure comes out of the stream.

            >>> with Client().stream("anthropic/claude-sonnet-4-5", "Why?") as stream:
            ...     for text in stream.text_stream:
            ...         print(text, end="", flush=True)
            Because of the air.
        """
        context = context_of(prompt, system, tools)
        return self._start_turn(model, context, {**options, "signal": signal})

    def complete(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
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
        return turn._result_alone().raise_for_error()

    @overload
    def extract(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        into: type[T],
        **options: Unpack[ExtractOptions],
    ) -> T: ...

    @overload
    def extract(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        into: Mapping[str, Any],
        **options: Unpack[ExtractOptions],
    ) -> dict[str, Any]: ...

    def extract(
        self,
        model: str | Model | ModelInfo,
        prompt: Prompt,
        into: Any,
        *,
        retries: int = 2,
        force: bool | None = None,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        signal: AbortSignal | threading.Event | None = None,
        **options: Unpack[TurnOptions],
    ) -> Any:
        """Make a turn whose answer is a value of the type `into`, and return the value.

        `into` is an attrs class, a dataclass, a TypedDict, a NamedTuple, an Enum, a Literal, a
        container such as `list[int]`, or a pydantic model. A dict is a JSON Schema, and the value
        is then an unchecked dict. The model answers by a call of a tool with this schema. `force`
        makes it call that tool; None: unless `reasoning` is asked for, which a forced call would
        switch off. An answer that does not fit is corrected by the model, at most `retries` times.
        All else is as in `complete`.

        Raises `ExtractionError` after the last correction, `ConfigurationError` for a type without
        a schema and without the extra `pi-native[tools]`, and what `complete` raises.
        """
        from ._tools.calls import extract_with_client  # a later package; see test_layers.py

        expect_signal(signal)
        return extract_with_client(
            self,
            model,
            prompt,
            into,
            retries=retries,
            force=force,
            system=system,
            tools=tools,
            options={**options, "signal": signal},
        )

    @overload
    def map(
        self,
        model: str | Model | ModelInfo,
        prompts: Iterable[Prompt],
        *,
        into: None = None,
        **options: Unpack[MapOptions],
    ) -> Batch[str]: ...

    @overload
    def map(
        self,
        model: str | Model | ModelInfo,
        prompts: Iterable[Prompt],
        *,
        into: type[T],
        **options: Unpack[MapOptions],
    ) -> Batch[T]: ...

    @overload
    def map(
        self,
        model: str | Model | ModelInfo,
        prompts: Iterable[Prompt],
        *,
        into: Mapping[str, Any],
        **options: Unpack[MapOptions],
    ) -> Batch[dict[str, Any]]: ...

    def map(
        self,
        model: str | Model | ModelInfo,
        prompts: Iterable[Prompt],
        *,
        into: Any = None,
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
        **options: Unpack[TurnOptions],
    ) -> Batch[Any]:
        """Make a turn for each prompt, several at once; return a `Batch` of their results.

        `model`, `system`, `tools` and `options` are those of `complete`; `prompts` is read as turns
        are started, so that it may be a generator.

        * `into`: the type of the values, as in `extract`; None: each value is the answer's text.
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
        from ._batch.calls import (
            BatchOptions,
            PromptCall,
            map_prompts,
        )  # a later room; see test_layers.py

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
        call = PromptCall(model=model, into=into, system=system, tools=tools, options=options)
        return map_prompts(self, prompts, call, settings, save)

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

    def models(self, kind: str | None = "chat") -> list[ModelInfo]:
        """Return the gateway's models of one kind; of all kinds for None.

        Other kinds are for example "embedding" and "image"; only chat models serve turns.
        """
        models = self._ask("/v1/models", ModelList).data or []
        return Rows(model for model in models if kind in (None, model.kind or "chat"))

    def wait_until_ready(self, timeout: float = 30.0) -> Health:
        """Wait until the gateway answers `/healthz`, for example while it starts, and return that.

        `timeout` is in seconds; after it the error of the last attempt is raised, most often a
        `GatewayConnectionError`. Needs no key.
        """
        deadline = time.monotonic() + seconds("timeout", timeout)
        pause = 0.05
        while True:
            left = deadline - time.monotonic()
            try:
                health = self._ask("/healthz", Health, {"total_timeout": max(left, pause)})
                if health.ok is not False:
                    return health
                failure: Exception = GatewayConnectionError("the gateway is not ready yet")
            except (GatewayConnectionError, GatewayServerError, StreamTimeoutError) as exc:
                failure = exc
            left = deadline - time.monotonic()
            if left <= 0:
                raise failure
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)

    def health(self) -> Health:
        """Return the state and the version of the gateway. Needs no key."""
        return self._ask("/healthz", Health)

    def usage(self) -> UsageSnapshot:
        """Return the use of each provider's limits."""
        return self._ask("/v1/usage", UsageSnapshot)

    def check_credentials(self) -> CredentialsCheck:
        """Let the gateway test its credentials, one after the other, and return their states."""
        return self._ask("/v1/credentials/check", CredentialsCheck)

    def close(self) -> None:
        """Close the idle connections. Running turns continue."""
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
            self._find_own_key()

    def __copy__(self) -> Self:
        # Unlike a pickle, a copy stays in the process, so it has the key.
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _transport=Transport(self._session))
        return twin

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self.__copy__()  # nothing in it is ever changed

    def _find_api_key(self, given: str | None) -> None:
        key, origin = find_api_key(given, self.base_url, os.environ, self._api_key_file)
        self._origins["api_key"] = origin
        self._key_may_change = origin not in (ARGUMENT, API_KEY_VARIABLE)
        self._api_key = None if key is None else Secret(key)

    def _find_own_key(self) -> None:
        """Find the key in this process, which may not have the other one's key file."""
        try:
            self._find_api_key(None)
        except ConfigurationError:
            self._api_key_file = None
            self._find_api_key(None)

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

    def _options(self, options: Mapping[str, Any]) -> StreamOptions:
        """Return the options of a turn, with the client's own. Raises `TypeError`."""
        check_names(options, option_names() | _TIMEOUTS.keys())
        given = {name: options[name] for name in _TIMEOUTS if options.get(name) is not None}
        limits = _milliseconds({**self._limits, **given})
        others = {name: value for name, value in options.items() if name not in _TIMEOUTS}
        if _SENT_TIMEOUTS & others.keys():
            others["wire_timeout_margin_ms"] = 0  # an option of the wire is sent as it is
        return StreamOptions(**{"api_key": self._api_key, **self._defaults, **limits, **others})

    def _ask(self, path: str, answer: type[T], options: Mapping[str, Any] | None = None) -> T:
        """Return the gateway's response to a GET of `path`, as an `answer`."""
        limits = resolve_timeouts(self._options(options or {}), os.environ)
        try:
            body = fetch_json(self._transport, self._page(path), limits)
        except AuthenticationError as exc:
            if exc.status != 401 or not self._has_new_key():
                raise
            body = fetch_json(self._transport, self._page(path), limits)
        return from_wire(body, answer)

    def _page(self, path: str) -> Request:
        headers = merge_headers({"Accept": "application/json"}, self._attribution, self._headers)
        return get(without_endpoint(self.base_url), path, with_bearer(headers, self._api_key))

    def _renewed(self, request: Request) -> Request | None:
        """Return a refused request with the key that is now in the file, or None."""
        current = None if self._api_key is None else f"Bearer {self._api_key}"
        sent = request.headers.get("Authorization")
        if sent == current and not self._has_new_key():
            return None
        headers = {name: value for name, value in request.headers.items() if value is not sent}
        return attrs.evolve(request, headers=with_bearer(headers, self._api_key))

    def _has_new_key(self) -> bool:
        """Read a key that came from a file again; return True when it has changed."""
        if not self._key_may_change:
            return False
        before = self._api_key
        try:
            self._find_api_key(None)
        except ConfigurationError:
            return False
        return self._api_key is not None and self._api_key != before

    def _transport_for(self, options: StreamOptions) -> Transport:
        own = self._transport
        return own if options.session is None else Transport(options.session, observe=own.observe)

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


def _attribution(app: str, install_id: str | None, hostname: str | None) -> dict[str, str]:
    """Return the headers that say whose tokens are spent, with characters that HTTP can carry."""
    named = {"x-omp-app": app, "x-omp-install-id": install_id, "x-omp-hostname": hostname}
    return {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in named.items() if value}


def _milliseconds(limits: Mapping[str, float | None]) -> dict[str, float]:
    """Return times in seconds as options. Raises `ConfigurationError`."""
    given = {name: seconds(name, limit) for name, limit in limits.items() if limit is not None}
    return {_TIMEOUTS[name]: limit * 1000 for name, limit in given.items()}
