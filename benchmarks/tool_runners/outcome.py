"""One run of one situation with one runner, and what came of it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType

from . import ours_runner
from .gateway import Gateway
from .provider import Provider
from .situations import LEDGER, Situation


@dataclass(frozen=True)
class Outcome:
    """The requests and the result of one runner in one situation."""

    runner: str
    requests: int
    ran: int
    results: list[str]  # as the provider got them
    raised: bool
    ended: str
    leaked: bool  # the text of the crash reached the provider


def run_one(runner: ModuleType, situation: Situation) -> Outcome:
    """Run a situation with a runner."""
    provide = Gateway if runner is ours_runner else Provider
    raised = False
    with _quiet(), provide(situation.turns) as provider:
        try:
            ended = repr(runner.run(situation, provider.url))
        except Exception as exc:  # noqa: BLE001 - what is raised is the outcome
            raised, ended = True, f"{type(exc).__name__}: {exc}"
    return Outcome(
        runner=f"{runner.PACKAGE} {version(runner.PACKAGE)}",
        requests=len(provider.requests),
        ran=len(situation.ran),
        results=provider.results,
        raised=raised,
        ended=ended,
        leaked=LEDGER in json.dumps(provider.requests),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the logs and warnings of the runners."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
