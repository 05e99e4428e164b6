"""From the arguments of `map` and `map_tasks` to a batch, all checked before the first turn."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._client.client import Client
from .._http.timeouts import resolve_timeouts
from .._prompts import Tools, context_of, declarations, expect_signal, tools_of
from .._protocol.request import turn_request
from .._schemas.target import Target, make_target
from .._threads.without_owner import without_owner
from .._tools.extract import Extractor, value_of
from .._types.base import WireObject
from .._types.gateway import ModelInfo
from .._types.messages import AssistantMessage
from .._types.option_checks import option_names
from .._types.options import StreamOptions
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .attempt_client import ClientHandle
from .batch import Batch
from .display import make_display
from .executors import check_executor
from .flights import Flights
from .progress import Progress
from .rules.budget import Account, Budget, as_budget
from .rules.driver import Driver
from .run import Plan, Run
from .saving.keys import KeyMaker
from .saving.save_file import SaveFile
from .source import PromptSource, Source, TaskSource
from .work import TurnCall

if TYPE_CHECKING:
    import threading

    from .._threads.abort import AbortSignal

OnError = Literal["raise", "keep"]


@attrs.frozen(kw_only=True)
class BatchOptions:
    """The arguments that `map` and `map_tasks` share. Raises `ConfigurationError`, `TypeError`."""

    executor: Executor | None = None
    concurrency: int = 8
    ordered: bool = True
    retries: int = 4
    patience: float = 600.0
    budget: float | Budget | None = None
    on_error: OnError = "raise"
    progress: bool | Callable[[Progress], object] = False
    signal: AbortSignal | threading.Event | None = None

    def __attrs_post_init__(self) -> None:
        _expect_count("concurrency", self.concurrency, 1)
        _expect_count("retries", self.retries, 0)
        if not _is_number(self.patience) or not self.patience >= 0:
            raise ConfigurationError(
                f"patience must be a number of seconds, 0 or more, not {self.patience!r:.60}"
            )
        if self.on_error not in ("raise", "keep"):
            raise ConfigurationError(f'on_error must be "raise" or "keep", not {self.on_error!r}')
        expect_signal(self.signal)
        if self.executor is not None:
            check_executor(self.executor)


@attrs.frozen(kw_only=True, eq=False)
class PromptCall:
    """The arguments of `map` that all prompts share."""

    model: str | Model | ModelInfo
    into: Any
    system: str | Sequence[str] | None
    tools: Tools | None
    options: Mapping[str, Any]

    def context(self, prompt: Any) -> Context:
        """Return the context of a prompt. Raises `TypeError`."""
        return context_of(prompt, self.system, self.tools)


def map_prompts(
    client: Client,
    prompts: Iterable[Any],
    call: PromptCall,
    settings: BatchOptions,
    save: str | os.PathLike[str] | None,
) -> Batch[Any]:
    """Return the batch of `Client.map`."""
    _expect_many(prompts, "prompts")
    if "max_retries" in call.options:
        raise ConfigurationError("a batch has retries=..., and no max_retries")
    if call.tools is not None:  # once, and not for each prompt: a schema takes 0.3 ms
        call = attrs.evolve(call, tools=declarations(tools_of(call.tools)))
    target = None if call.into is None else make_target(call.into)
    source = PromptSource(
        prompts,
        call.context,
        lambda context: TurnCall(call.model, context, call.options, call.into),
        _checked_keys(client, call, target),
        _text_of if target is None else functools.partial(value_of, target=target),
    )
    source.check_all()
    if save is not None:
        source.save = SaveFile(save, source.keys.call)
    return _start(client, source, settings, source.save)


def map_items(
    client: Client,
    task: Callable[[Client, Any], Any],
    items: Iterable[Any],
    settings: BatchOptions,
) -> Batch[Any]:
    """Return the batch of `Client.map_tasks`."""
    if not callable(task):
        raise TypeError(f"task must be a function of a client and an item, not {task!r:.60}")
    _expect_many(items, "items")
    return _start(client, TaskSource(items, task), settings, None)


def _start(
    client: Client, source: Source, settings: BatchOptions, save: SaveFile | None
) -> Batch[Any]:
    try:
        account = Account(as_budget(settings.budget))
        driver = Driver(settings.concurrency, settings.retries, settings.patience, account)
        plan = Plan(
            source=source,
            driver=driver,
            account=account,
            flights=Flights(settings.executor, settings.concurrency, ClientHandle(client), save),
            concurrency=settings.concurrency,
            ordered=settings.ordered,
            keep_errors=settings.on_error == "keep",
            save=save,
            signal=settings.signal,
            display=make_display(settings.progress),
            value_of=source.value_of,
        )
    except BaseException:
        if save is not None:
            save.close()
        raise
    return without_owner(lambda: Batch(Run(plan), account))


def _checked_keys(client: Client, call: PromptCall, target: Target[Any] | None) -> KeyMaker:
    """Return the key maker of a call, after a check of its model and options."""
    settings = client._options(call.options)
    resolve_timeouts(settings, os.environ)
    model, shared = client._model(call.model), call.context([])
    turn_request(model, shared, settings)
    if target is not None:
        Extractor(target=target).check(shared.tools, call.options)
    into = None if target is None else target.schema
    sent = {name: value for name, value in call.options.items() if name in option_names()}
    return KeyMaker(model, shared, StreamOptions(**sent), into)


def _text_of(message: AssistantMessage) -> str:
    return message.text


def _expect_many(values: object, name: str) -> None:
    one = isinstance(values, (str, bytes, Mapping, WireObject))
    if one or not isinstance(values, Iterable):
        kind = type(values).__name__
        raise TypeError(f"{name} must be an iterable with one entry a turn, not one {kind}")


def _expect_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{name} must be a whole number, {least} or more, not {value!r:.60}"
        )


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and not math.isnan(value)  # type: ignore[arg-type]
