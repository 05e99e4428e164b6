"""The Celery example, with a real worker and files as broker and result backend."""

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

from pi_native import AssistantMessage, InvalidRequestError, ProviderError, from_wire
from pi_native.testing import FakeGateway, HTTPError, Reply, Stall

from .servers import EXAMPLES, PATIENCE_SECONDS, need, running

pytestmark = pytest.mark.slow

# The example as it is, with files in place of Redis.
SETTINGS = """
import sys
sys.path.insert(0, {examples!r})
from celery_tasks import app, client, summarise

app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{
        "data_folder_in": {queue!r},
        "data_folder_out": {queue!r},
        "control_folder": {control!r},
        "polling_interval": 0.05,
    }},
    result_backend="file://{results}",
    worker_hijack_root_logger=False,
)
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the example as a module whose broker and results are files."""
    need("celery")
    folders = {name: str(tmp_path / name) for name in ("queue", "control", "results")}
    for folder in folders.values():
        Path(folder).mkdir()
    source = SETTINGS.format(examples=str(EXAMPLES), **folders)
    (tmp_path / "celery_on_files.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("PI_NATIVE_API_KEY", "only the worker sends requests")
    modules = ("celery_on_files", "celery_tasks")
    for name in modules:
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("celery_on_files")
    yield module
    module.client.close()
    module.app.close()


@contextlib.contextmanager
def worker(gateway: FakeGateway, folder: Path, pool: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with one process or thread; a SIGTERM stops it, with exit code 0."""
    options = (
        "--concurrency",
        "1",
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        "WARNING",
    )
    command = ("celery", "-A", "celery_on_files", "worker", "--pool", pool, *options)
    with running(gateway, *command, folder=folder) as process:
        yield process


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_ends_as_its_turn_does(
    gateway: FakeGateway, tasks: Any, tmp_path: Path, pool: str
) -> None:
    """A result is JSON, a refusal is retried after its `Retry-After`, and a failure is raised."""

    def result(text: str) -> Any:
        done = tasks.summarise.delay(text)
        return done.get(timeout=PATIENCE_SECONDS, interval=0.05)

    with worker(gateway, tmp_path, pool):
        gateway.reply("Short.")
        assert from_wire(result("a long text"), AssistantMessage).text == "Short."

        gateway.add(HTTPError(429, "later", headers={"Retry-After": "1"})).reply("Shorter.")
        assert from_wire(result("a longer text"), AssistantMessage).text == "Shorter."
        _, first, second = gateway.requests
        assert second.arrived_at - first.arrived_at >= 1

        gateway.add(HTTPError(404, "Unknown model"))
        with pytest.raises(InvalidRequestError, match="Unknown model"):
            result("for another model")
        gateway.default = Reply(error_message="blocked by the content filter", error_status=400)
        with pytest.raises(ProviderError, match="blocked"):
            result("a bad text")
        assert len(gateway.requests) == 5


def test_a_worker_that_is_stopped_ends_its_turn_first(
    gateway: FakeGateway, tasks: Any, tmp_path: Path
) -> None:
    """After a SIGTERM the worker waits for the turn, saves its result and exits with code 0."""
    gateway.default = Reply("Short.", fault=Stall(after=2))
    with worker(gateway, tmp_path, "prefork") as process:
        result = tasks.summarise.delay("a long text")
        request = gateway.wait_for_request(PATIENCE_SECONDS)
        assert request.stalled.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert not request.client_gone.is_set()
        request.release()
        process.wait(PATIENCE_SECONDS)
    assert from_wire(result.get(timeout=1), AssistantMessage).text == "Short."


def test_a_soft_time_limit_cancels_the_turn(
    gateway: FakeGateway, tasks: Any, tmp_path: Path
) -> None:
    """A task that exceeds its soft time limit ends, and the gateway sees a closed connection."""
    gateway.default = Reply("Short.", fault=Stall(after=2))
    with worker(gateway, tmp_path, "prefork"):
        result = tasks.summarise.apply_async(("a long text",), soft_time_limit=1)
        request = gateway.wait_for_request(PATIENCE_SECONDS)
        with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
            result.get(timeout=PATIENCE_SECONDS, interval=0.05)
        assert request.client_gone.wait(PATIENCE_SECONDS)
