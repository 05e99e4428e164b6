"""The client inside a worker: one attempt a turn, cancelled with its unit, its usage counted."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from .._client.client import Client
from .._protocol.request import Request
from .._threads.abort import AbortSignal
from .._turn.stream import AssistantMessageEventStream
from .._types.gateway import ModelInfo
from .._types.messages import AssistantMessage, Usage
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .rules.budget import total_usage

_MOST_CLIENTS = 8


class AttemptClient(Client):
    """A twin of a client, over the same connections, for one unit of work."""

    def __init__(self, client: Client, signal: AbortSignal | None) -> None:
        self.__dict__.update(client.__dict__)
        self._defaults = {**client._defaults, "max_retries": 0}
        self._original = client
        self._unit_signal = signal
        self._turns: list[AssistantMessageEventStream] = []

    def close(self) -> None:
        """Do nothing: the connections are the original's."""

    def finish(self) -> tuple[int, Usage | None]:
        """Cancel the turns that still run; return the number of requests, and what they used."""
        for turn in self._turns:
            turn.close()
        usages = [usage for turn in self._turns if (usage := _usage_of(turn)) is not None]
        attempts = sum(turn.attempts for turn in self._turns)
        self._turns.clear()
        return attempts, total_usage(usages)

    def _start_turn(
        self,
        model: str | Model | ModelInfo,
        context: Context,
        options: Mapping[str, Any],
        keep: Callable[[AssistantMessage], object] | None = None,
    ) -> AssistantMessageEventStream:
        signal = _either(options.get("signal"), self._unit_signal)
        turn = super()._start_turn(model, context, {**options, "signal": signal}, keep)
        self._turns.append(turn)
        return turn

    def _renewed(self, request: Request) -> Request | None:
        # A key file is read again once for all units, and not once for each.
        renewed = self._original._renewed(request)
        self._api_key = self._original._api_key
        return renewed


def _either(own: Any, unit: AbortSignal | None) -> Any:
    """Return a signal that aborts with either of two."""
    if own is None or unit is None:
        return unit if own is None else own
    if isinstance(own, AbortSignal):
        return AbortSignal.any([own, unit])
    return own  # a plain event has no listeners; the unit's end closes the turn


def _usage_of(turn: AssistantMessageEventStream) -> Usage | None:
    """Return what an ended turn used, a failed one too."""
    outcome = turn._channel.outcome if turn.done else None
    if outcome is None:
        return None
    message = outcome.result or getattr(outcome.failure, "partial", None)
    return None if message is None else message.usage


class ClientHandle:
    """A client on its way to workers: pickled once, and rebuilt once a process, not once a unit."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._had_key = client._api_key is not None
        self._token = uuid.uuid4().hex
        self._state: bytes | None = None

    def check_key(self) -> None:
        """Raise `ConfigurationError` when the key did not come along and was not found here."""
        if self._had_key and self.client._api_key is None:
            raise ConfigurationError(
                "the worker has no API key: set PI_NATIVE_API_KEY in the environment of the "
                "workers, or use Client(pickle_key=True) with workers that you trust"
            )

    def release(self) -> None:
        """Forget the client that was rebuilt in this process, if there is one."""
        rebuilt = _rebuilt.pop(self._token, None)
        if rebuilt is not None:
            rebuilt.client.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._state is None:
            self._state = pickle.dumps(self.client)
        return _rebuild, (self._token, self._state, self._had_key)


_rebuilt: dict[str, ClientHandle] = {}


def _rebuild(token: str, state: bytes, had_key: bool) -> ClientHandle:
    handle = _rebuilt.get(token)
    if handle is None:
        new = ClientHandle(pickle.loads(state))
        new._token, new._state, new._had_key = token, state, had_key
        handle = _rebuilt.setdefault(token, new)  # atomic: no lock that a fork could copy
        for old in list(_rebuilt)[:-_MOST_CLIENTS]:
            evicted = _rebuilt.pop(old, None)  # another thread may have been first
            if evicted is not None:
                evicted.client.close()
    return handle
