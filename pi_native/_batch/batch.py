"""The batch that a caller holds: an iterator of results."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from .._types.messages import Cost, Usage
from ..errors import BudgetError
from .progress import Progress
from .result import BatchResult
from .rules.budget import Account
from .run import Run

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Batch(Iterator[BatchResult[T]], Generic[T]):
    """The results of many turns, as they come: iterate it, or call `results()`.

    Turns are started while it is read. Leaving a `with` block, `stop()`, Ctrl-C and a dropped batch
    cancel the turns that run in this process; turns in other processes run to their end. Answers
    that were finished stay available.

        >>> with Client().map("acme/parrot", ["Why?", "Why not?"], concurrency=2) as batch:
        ...     for result in batch:
        ...         print(result.index, result.value)
        0 Because of the air.
        1 Because of the air.
        >>> batch.progress.done
        2
    """

    def __init__(self, run: Run, account: Account) -> None:
        self._run = run
        self._account = account
        self._finalizer = weakref.finalize(self, _abandon, run, os.getpid())
        self._finalizer.atexit = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BatchResult[T]:
        """Return the next result; block until there is one.

        After the last result it raises what ended the batch early: the first failed turn's error
        with `on_error="raise"`, the refusal that used up `patience`, `BudgetError`, the signal's
        `AbortError`, `BrokenExecutor` for a dead pool, or `OSError` for a save file.
        """
        return self._run.next()

    def results(self) -> list[BatchResult[T]]:
        """Return all results. Raises as `__next__` does; a `BudgetError` carries the results."""
        found: list[BatchResult[T]] = []
        try:
            for result in self:
                found.append(result)
        except BudgetError as exc:
            exc.results = found
            raise
        return found

    @property
    def progress(self) -> Progress:
        """The state of the batch at this moment."""
        return self._run.progress

    @property
    def usage(self) -> Usage:
        """The tokens and the cost of this run; reused answers do not count."""
        return self._account.usage

    @property
    def cost(self) -> Cost:
        """The cost of this run, in US dollars; the sum is `cost.total`."""
        return self.usage.cost

    def stop(self) -> None:
        """End the batch early, from any thread; the iteration then ends without an error."""
        self._run.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run.stop()
        self._run.close()

    def __repr__(self) -> str:
        return f"<Batch: {self.progress}>"


def _abandon(run: Run, process: int) -> None:
    """Cancel the turns of a batch that the caller dropped; a forked child has no part in them."""
    if os.getpid() == process:
        run.abandon()
