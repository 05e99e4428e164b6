"""Ending a batch early: `stop()`, a signal, `with`, Ctrl-C, and a batch that is dropped."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pi_native import AbortController, AbortError, Client
from pi_native.testing import FakeGateway, RecordedRequest, Reply, Stall

from ...conftest import wait_until
from ..calls import KEY

MODEL = "acme/parrot"
PROMPTS = [f"p{number}" for number in range(50)]


@pytest.fixture(autouse=True)
def stalling(gateway: FakeGateway) -> None:
    """Let the gateway answer the first three prompts, and stall in the middle of the others."""

    def answer(request: RecordedRequest) -> Reply:
        if request.last_user_text in ("p0", "p1", "p2"):
            return Reply("Because of the air.")
        return Reply("Because of the air.", fault=Stall(after=2))

    gateway.default = answer


def running(gateway: FakeGateway, count: int = 7) -> Callable[[], bool]:
    """Return a condition: so many requests have come in."""
    return lambda: len(gateway.requests) >= count


def cancel_when_running(gateway: FakeGateway, cancel: Callable[[], object]) -> threading.Thread:
    """Start a thread that cancels once the turns stall."""

    def wait_and_cancel() -> None:
        wait_until(running(gateway), 30)
        cancel()

    thread = threading.Thread(target=wait_and_cancel)
    thread.start()
    return thread


def all_cancelled(client: Client, gateway: FakeGateway) -> bool:
    """Tell whether no turn is left: without the idle connections, none is open."""
    client.close()
    return wait_until(lambda: gateway.open_connections == 0)


def test_stop_ends_the_iteration_quietly(client: Client, gateway: FakeGateway) -> None:
    """Finished results are returned; the turns in flight are cancelled and are no results."""
    batch = client.map(MODEL, PROMPTS, concurrency=4)
    thread = cancel_when_running(gateway, batch.stop)
    assert [result.index for result in batch] == [0, 1, 2]
    thread.join()
    assert len(gateway.requests) == 7
    assert all_cancelled(client, gateway)


@pytest.mark.parametrize("kind", ["signal", "event"])
def test_a_signal_ends_the_iteration_with_its_error(
    client: Client, gateway: FakeGateway, kind: str
) -> None:
    """The results come first, then the signal's `AbortError`; a plain event works as well."""
    controller, event = AbortController(), threading.Event()
    batch = client.map(
        MODEL, PROMPTS, concurrency=4, signal=controller.signal if kind == "signal" else event
    )
    cancel = (lambda: controller.abort("enough")) if kind == "signal" else event.set
    thread = cancel_when_running(gateway, cancel)
    seen: list[int] = []
    with pytest.raises(AbortError):
        seen.extend(result.index for result in batch)
    thread.join()
    assert seen == [0, 1, 2]


@pytest.mark.skipif(os.name == "nt", reason="sends a signal to itself")
def test_stop_may_be_called_by_a_signal_handler(client: Client, gateway: FakeGateway) -> None:
    """A handler that runs in the middle of the batch's own thread ends the iteration quietly."""
    batch = client.map(MODEL, PROMPTS, concurrency=4)
    before = signal.signal(signal.SIGTERM, lambda *_: batch.stop())
    thread = cancel_when_running(gateway, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        assert [result.index for result in batch] == [0, 1, 2]
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_has_aborted_starts_nothing(client: Client, gateway: FakeGateway) -> None:
    """A batch that is cancelled before it starts makes no request."""
    controller = AbortController()
    controller.abort("too late")
    with pytest.raises(AbortError, match="too late"):
        client.map(MODEL, PROMPTS, signal=controller.signal).results()
    assert gateway.requests == []


def test_leaving_the_block_cancels_what_runs(client: Client, gateway: FakeGateway) -> None:
    """After `with`, no turn runs and no thread is left."""
    with client.map(MODEL, PROMPTS, concurrency=4) as batch:
        assert next(batch).index == 0
        assert wait_until(running(gateway, 4))
    assert all_cancelled(client, gateway)
    assert {result.index for result in batch} <= {1, 2}


def test_a_dropped_batch_cancels_what_runs(client: Client, gateway: FakeGateway) -> None:
    """A batch that is not held any more stops its turns."""
    batch = client.map(MODEL, PROMPTS, concurrency=4)
    next(batch)
    del batch
    gc.collect()
    assert all_cancelled(client, gateway)


def test_a_batch_that_is_never_read_starts_nothing(client: Client, gateway: FakeGateway) -> None:
    """Turns start when the batch is read."""
    client.map(MODEL, PROMPTS)
    assert gateway.requests == []


def test_a_task_is_cancelled_through_its_client(client: Client, gateway: FakeGateway) -> None:
    """Stopping the batch cancels the turn that a task is waiting for."""
    batch = client.map_tasks(
        lambda client, item: client.complete(MODEL, item), PROMPTS, concurrency=4
    )
    thread = cancel_when_running(gateway, batch.stop)
    assert len(batch.results()) == 3
    thread.join()


def test_an_error_of_the_progress_callback_cancels_the_batch(
    client: Client, gateway: FakeGateway
) -> None:
    """An error of the caller's function is raised, and no turn is left."""

    def fail(_progress: object) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        client.map(MODEL, PROMPTS, concurrency=4, progress=fail).results()
    assert all_cancelled(client, gateway)


INTERRUPTED = """
import sys, os, signal, threading
from pi_native import Client
client = Client(sys.argv[1], sys.argv[3])
batch = client.map("acme/parrot", [f"p{n}" for n in range(50)], concurrency=4, save=sys.argv[2])
print("started", flush=True)
try:
    for result in batch:
        print(result.index, flush=True)
except KeyboardInterrupt:
    print("interrupted", [r.index for r in batch], threading.active_count() < 4, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to another process")
def test_ctrl_c_cancels_the_batch(gateway: FakeGateway, tmp_path: Path) -> None:
    """Ctrl-C raises `KeyboardInterrupt` at once; answers are saved, turns are cancelled."""
    save = tmp_path / "save.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, gateway.url, str(save), KEY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(running(gateway), 30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out.splitlines()[:4] == ["started", "0", "1", "2"]
    assert out.splitlines()[-1] == "interrupted [] True", err
    assert len(save.read_text("utf-8").splitlines()) == 3
    assert wait_until(lambda: gateway.open_connections == 0)
