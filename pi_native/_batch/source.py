"""The prompts of a batch, read one by one, each as the call that a worker makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from .._client.client import Client
from .._schemas.target import MisfitError
from .._types.messages import AssistantMessage
from .._types.request import Context
from ..errors import ConfigurationError
from .saving.keys import KeyMaker
from .saving.save_file import SaveFile
from .work import TaskCall, TurnCall


@attrs.frozen(eq=False)
class Entry:
    """One prompt: as given, as a call, its key in the save file, and its saved answer if any."""

    index: int
    prompt: Any
    call: TurnCall | TaskCall
    key: str | None = None
    saved: AssistantMessage | None = None


class Source:
    """Reads the items of an iterable; `total` is their number, None when it is not known."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.total: int | None = _length(items)
        self.read_count: int = 0
        self.exhausted: bool = False
        self.value_of: Callable[[AssistantMessage], Any] = lambda message: message.text
        self._items = items
        self._iterator: Iterator[Any] | None = None

    def read(self) -> Entry | None:
        """Return the next entry, or None at the end. Raises what the iterable raises."""
        if self._iterator is None:
            self._iterator = iter(self._items)
        try:
            item = next(self._iterator)
        except StopIteration:
            self.exhausted = True
            return None
        index = self.read_count
        self.read_count += 1
        return self._entry(index, item)

    def _entry(self, index: int, item: Any) -> Entry:
        raise NotImplementedError


class TaskSource(Source):
    """The items of `map_tasks`."""

    def __init__(self, items: Iterable[Any], task: Callable[[Client, Any], Any]) -> None:
        super().__init__(items)
        self._task = task

    def _entry(self, index: int, item: Any) -> Entry:
        return Entry(index, item, TaskCall(self._task, item))


class PromptSource(Source):
    """The prompts of `map`: checked, keyed, and looked up in the save file."""

    def __init__(
        self,
        prompts: Iterable[Any],
        context: Callable[[Any], Context],
        call: Callable[[Context], TurnCall],
        keys: KeyMaker,
        value_of: Callable[[AssistantMessage], Any],
    ) -> None:
        super().__init__(prompts)
        self._context = context
        self._call = call
        self.keys = keys
        self.value_of = value_of
        self.save: SaveFile | None = None

    def check_all(self) -> None:
        """Check every prompt of a collection before the first is sent; an iterator is not read.

        Raises `TypeError` or `ConfigurationError` that names the prompt.
        """
        if self.total is None or isinstance(self._items, Iterator):
            return
        for index, prompt in enumerate(self._items):
            self._checked(index, prompt)

    def _entry(self, index: int, item: Any) -> Entry:
        context = self._checked(index, item)
        key = self.keys.key(context)
        return Entry(index, item, self._call(context), key, self._saved(key))

    def _saved(self, key: str) -> AssistantMessage | None:
        """Return the saved answer, if it is there and fits the type of the values."""
        message = None if self.save is None else self.save.find(key)
        if message is not None:
            try:
                self.value_of(message)
            except MisfitError:
                return None
        return message

    def _checked(self, index: int, prompt: Any) -> Context:
        try:
            context = self._context(prompt)
            self.keys.check(context)
        except TypeError as exc:
            raise TypeError(f"prompt {index}: {exc}") from None
        except ConfigurationError as exc:
            raise ConfigurationError(f"prompt {index}: {exc}") from exc
        return context


def _length(items: Iterable[Any]) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None
