"""The RQ example, with a real worker and a real Redis."""

from __future__ import annotations

import contextlib
import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pi_native import AssistantMessage
from pi_native.testing import FakeGateway, HTTPError, Reply, Stall

from ..conftest import wait_until
from .servers import EXAMPLES, PATIENCE_SECONDS, need, need_program, running

pytestmark = pytest.mark.slow


@pytest.fixture
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a Redis on a Unix socket."""
    need("rq", "redis")
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "s"
    command = [need_program("redis-server"), "--port", "0", "--unixsocket", str(path)]
    process = subprocess.Popen([*command, "--save", "", "--dir", str(folder)], stdout=-3)
    try:
        assert wait_until(path.exists, PATIENCE_SECONDS)
        yield path
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def queue(redis_socket: Path) -> Iterator[Any]:
    """Return the queue on this Redis."""
    redis, rq = importlib.import_module("redis"), importlib.import_module("rq")
    with redis.Redis(unix_socket_path=str(redis_socket)) as connection:
        yield rq.Queue(connection=connection)


@pytest.fixture
def summarise(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the job of the example."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("PI_NATIVE_API_KEY", "only the worker sends requests")
    monkeypatch.delitem(sys.modules, "rq_jobs", raising=False)
    return importlib.import_module("rq_jobs").summarise


@contextlib.contextmanager
def worker(gateway: FakeGateway, redis: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker; a SIGTERM stops it, with exit code 0."""
    with running(gateway, "rq.cli", "worker", "--with-scheduler", "--url", f"unix://{redis}") as w:
        yield w


def ended(job: Any) -> Any:
    """Return the job when it has ended."""
    done = ("finished", "failed", "stopped")
    assert wait_until(lambda: job.get_status(refresh=True).value in done, PATIENCE_SECONDS)
    return job


def test_a_job_ends_as_its_turn_does(
    gateway: FakeGateway, redis_socket: Path, queue: Any, summarise: Any
) -> None:
    """A result is the message, a refusal is retried later, and a failure keeps its text."""
    with worker(gateway, redis_socket):
        gateway.reply("Short.")
        message = ended(queue.enqueue(summarise, "a long text")).return_value()
        assert isinstance(message, AssistantMessage)
        assert message.text == "Short."

        gateway.add(HTTPError(429, "later", headers={"Retry-After": "1"})).reply("Shorter.")
        assert ended(queue.enqueue(summarise, "a longer text")).return_value().text == "Shorter."
        _, first, second = gateway.requests
        assert second.arrived_at - first.arrived_at >= 1

        gateway.add(HTTPError(404, "Unknown model"))
        failed = ended(queue.enqueue(summarise, "for another model"))
        assert failed.get_status().value == "failed"
        assert "InvalidRequestError: Unknown model" in failed.latest_result().exc_string
        assert len(gateway.requests) == 4


def test_a_worker_that_is_killed_hangs_up(
    gateway: FakeGateway, redis_socket: Path, queue: Any, summarise: Any
) -> None:
    """A second SIGTERM ends the worker in the middle of a turn, and the gateway is hung up."""
    gateway.default = Reply("Short.", fault=Stall(after=2))
    with worker(gateway, redis_socket) as process:
        queue.enqueue(summarise, "a long text")
        request = gateway.wait_for_request(PATIENCE_SECONDS)
        assert request.stalled.wait(PATIENCE_SECONDS)
        # A second signal within a second counts as a copy of the first one.
        process.send_signal(signal.SIGTERM)
        assert not request.client_gone.wait(2), "the first one waits for the job"
        process.send_signal(signal.SIGTERM)
        assert request.client_gone.wait(PATIENCE_SECONDS)
        process.wait(PATIENCE_SECONDS)
