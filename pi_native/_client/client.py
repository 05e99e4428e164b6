"""The public class, with the calls for values of a type and for many prompts.

The packages of these calls import this one, so their methods import them when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from .._models_yml import find_provider
from .._prompts import Prompt, Tools, expect_signal
from .._threads.abort import AbortSignal
from .._types.gateway import ModelInfo
from .._types.request import Model
from .turn_calls import TurnClient

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Executor

    from typing_extensions import Self, Unpack

    from .._batch.batch import Batch
    from .._batch.options import MapOptions
    from .._batch.progress import Progress
    from .._batch.rules.budget import Budget
    from .._tools.options import ExtractOptions
    from .._types.options import TurnOptions

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item")


class Client(TurnClient):
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
        key is found as for any client. `settings` are further arguments of `Client`; an `api_key`
        or `api_key_file` among them replaces the key in the file. Raises `ConfigurationError`, also
        without PyYAML, which the extra `pi-native[yaml]` installs.
        """
        own_key = any(settings.get(name) is not None for name in ("api_key", "api_key_file"))
        found = find_provider(provider, path, os.environ, needs_key=not own_key)
        headers = {**found.headers, **(settings.pop("headers", None) or {})}
        client = cls(found.base_url, headers=headers, **{"api_key": found.api_key, **settings})
        client._origins["base_url"] = found.origin
        if found.api_key is not None:
            client._origins["api_key"] = found.origin
        return client

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
        tools: Tools | None = None,
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
        from .._tools.calls import extract_with_client

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
        tools: Tools | None = None,
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
        from .._batch.calls import BatchOptions, PromptCall, map_prompts

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
        from .._batch.calls import BatchOptions, map_items

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
