"""Run the tools of a round in threads, so that a cancel never waits for a tool.

The threads are daemons: a tool that hangs after a cancel keeps neither the caller nor the end of
the process waiting. Its result is dropped.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import attrs

from .._types.messages import ToolResultMessage
from . import results
from .cancel import RunSignal
from .round import Round


@attrs.define(eq=False)
class Job:
    """A call of a round whose tool is to run. `failure` is what the tool raised."""

    index: int
    round: Round
    run: Callable[[], ToolResultMessage]
    failure: BaseException | None = None

    def work(self) -> None:
        """Run the tool, and add its result to the round."""
        try:
            result = self.run()
        except BaseException as exc:  # noqa: BLE001 - it is raised again in the caller's thread
            self.failure = exc
            result = results.failure(self.round.calls[self.index], results.FAILED)
        self.round.answer(self.index, result)


def run_jobs(jobs: Iterable[Job], workers: int, cancel: RunSignal) -> Iterator[Job]:
    """Run the jobs, at most `workers` at once, and yield each when it has ended.

    After a failure no other job starts. Raises the reason of a cancel at once.
    """
    waiting, running = deque(jobs), 0
    ended: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    unlisten = cancel.signal.add_listener(lambda: ended.put(None))  # wakes the caller
    try:
        while waiting or running:
            cancel.check()
            if waiting and running < workers:
                _start(waiting.popleft(), ended)
                running += 1
                continue
            job = _next(ended, cancel)
            running -= 1
            if job.failure is not None:
                waiting.clear()
            yield job
    finally:
        unlisten()


def _start(job: Job, ended: queue.SimpleQueue[Job | None]) -> None:
    variables = contextvars.copy_context()

    def work() -> None:
        variables.run(job.work)
        ended.put(job)

    name = f"tool-{job.round.calls[job.index].name}"
    job.round.start(job.index)
    threading.Thread(target=work, name=name, daemon=True).start()


def _next(ended: queue.SimpleQueue[Job | None], cancel: RunSignal) -> Job:
    while True:
        try:
            job = ended.get(timeout=cancel.wait_seconds)
        except queue.Empty:
            job = None
        if job is not None:
            return job
        cancel.check()
