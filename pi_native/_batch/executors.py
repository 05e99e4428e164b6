"""The executor of a batch: checked once, and from then on only `submit` is used."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from ..errors import ConfigurationError


def own_executor(concurrency: int) -> ThreadPoolExecutor:
    """Return the default executor: one thread for each turn in flight."""
    return ThreadPoolExecutor(concurrency, thread_name_prefix="pi-batch")


def check_executor(executor: Any) -> None:
    """Raise for what is not an executor, and for one that answers equal calls from a cache."""
    if not isinstance(executor, Executor):
        name = type(executor).__name__
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, not {name}; "
            "a Dask client has one: client.get_executor(pure=False)"
        )
    if _is_pure(executor):
        raise ConfigurationError(
            "this Dask executor is pure: it makes one request for equal prompts and keeps its "
            "answer; use client.get_executor(pure=False)"
        )


def _is_pure(executor: Executor) -> bool:
    """Return True for Dask's executor, unless it was made with `pure=False`."""
    if not type(executor).__module__.startswith("distributed."):
        return False
    settings = getattr(executor, "_kwargs", None)
    return not isinstance(settings, dict) or bool(settings.get("pure", True))
