"""The unit that a worker runs: one attempt at one prompt or task. It can be pickled.

The driver and the worker share no state. In the same process a unit carries the caller's context
variables and a signal that cancels it; a pickle leaves both behind.
"""

from __future__ import annotations

import contextvars
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .._client.client import Client
from .._schemas.target import make_target
from .._threads.abort import AbortSignal
from .._threads.clock import monotonic
from .._tools.calls import asking
from .._tools.extract import Extractor
from .._types.gateway import ModelInfo
from .._types.messages import AssistantMessage, Usage
from .._types.request import Context, Model
from ..errors import PiNativeError
from .attempt_client import AttemptClient, ClientHandle


@attrs.define(eq=False)
class Outcome:
    """The end of one unit: a message or a task's value, or an error, or cancelled."""

    value: Any = None
    message: AssistantMessage | None = None
    error: BaseException | None = None
    usage: Usage | None = None
    attempts: int = 0
    seconds: float = 0.0
    cancelled: bool = False

    def __getstate__(self) -> dict[str, Any]:
        state = {a.name: getattr(self, a.name) for a in attrs.fields(Outcome)}
        if self.error is not None:
            state["error"] = _picklable(self.error)
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@attrs.frozen(eq=False)
class TurnCall:
    """One prompt: a turn with its context, or an extraction of a value of the type `into`."""

    model: str | Model | ModelInfo
    context: Context
    options: Mapping[str, Any]
    into: Any = None

    def run(self, client: Client) -> tuple[Any, AssistantMessage | None]:
        """Make the turn; return no value, and the message."""
        ask = asking(client, self.model)
        if self.into is None:
            return None, ask(self.context, self.options)
        extractor = Extractor(target=make_target(self.into))
        return None, extractor.run(ask, self.context, self.options).message

    def __getstate__(self) -> dict[str, Any]:
        # A key that was given as an option stays here, as the client's own key does.
        options = {name: value for name, value in self.options.items() if name != "api_key"}
        state = {"model": self.model, "context": self.context, "into": self.into}
        return {**state, "options": options}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


@attrs.frozen(eq=False)
class TaskCall:
    """One run of a task of the caller with one item."""

    task: Callable[[Client, Any], Any]
    item: Any

    def run(self, client: Client) -> tuple[Any, AssistantMessage | None]:
        """Run the task; return its value, and no message."""
        return self.task(client, self.item), None


@attrs.define(eq=False)
class WorkUnit:
    """One attempt. `index` and `attempt` make units of equal prompts differ."""

    index: int
    attempt: int
    handle: ClientHandle
    call: TurnCall | TaskCall
    signal: AbortSignal | None = None
    variables: contextvars.Context | None = None

    def __getstate__(self) -> tuple[Any, ...]:
        return self.index, self.attempt, self.handle, self.call

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.index, self.attempt, self.handle, self.call = state
        self.signal = self.variables = None


def run_unit(unit: WorkUnit) -> Outcome:
    """Run one unit to its end; what it raises is in the outcome."""
    if unit.variables is None:
        return _run(unit)
    return unit.variables.run(_run, unit)


def _run(unit: WorkUnit) -> Outcome:
    started = monotonic()
    outcome = Outcome()
    client = AttemptClient(unit.handle.client, unit.signal)
    try:
        unit.handle.check_key()
        outcome.value, outcome.message = unit.call.run(client)
    except KeyboardInterrupt:  # a terminal sends Ctrl-C to worker processes as well
        outcome.cancelled = True
    except Exception as exc:  # noqa: BLE001 - it belongs to the prompt, not to the worker
        outcome.error = exc
        outcome.cancelled = _is_cancel(exc, unit.signal)
    outcome.attempts, outcome.usage = client.finish()
    outcome.seconds = monotonic() - started
    return outcome


def _is_cancel(error: BaseException, signal: AbortSignal | None) -> bool:
    return signal is not None and signal.aborted and isinstance(error, PiNativeError)


def _picklable(error: BaseException) -> BaseException:
    """Return the error, or its text in a `RuntimeError`: one that cannot be read breaks a pool."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - it comes from the error's own methods
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
