"""One unchanged driver on every kind of executor, with workers that are killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pi_native import Client, ConfigurationError, PiNativeError
from pi_native.testing import FakeGateway, HTTPError, RecordedRequest, Reply

from ..calls import KEY
from . import work

MODEL = work.MODEL
Make = Callable[[], Executor]


@pytest.fixture(autouse=True)
def echoing(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateway answer with the prompt, and put its key into the environment of workers."""
    gateway.default = lambda request: Reply(f"re: {request.last_user_text}")
    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)


def process_pool(method: str) -> Executor:
    """Return a pool of two processes."""
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


def loky_pool() -> Executor:
    """Return a pool of two of loky's processes."""
    loky = pytest.importorskip("loky")
    executor: Executor = loky.ProcessPoolExecutor(2)
    return executor


POOLS: dict[str, Make] = {
    "threads": lambda: ThreadPoolExecutor(4),
    "spawn": lambda: process_pool("spawn"),
    "forkserver": lambda: process_pool("forkserver"),
    "loky": loky_pool,
}
PROCESSES = [name for name in POOLS if name != "threads"]


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Return the executor that the test's parameter names."""
    with POOLS[request.param]() as executor:
        yield executor


each_pool = pytest.mark.parametrize("pool", list(POOLS), indirect=True)
each_process_pool = pytest.mark.parametrize("pool", PROCESSES, indirect=True)
pytestmark = [
    pytest.mark.slow,
    # Helpers of multiprocessing (its fork server, loky's resource tracker) outlive a pool.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@each_pool
def test_a_batch_runs_on_every_executor(client: Client, pool: Executor) -> None:
    """Results, order and counts do not depend on the executor."""
    batch = client.map(MODEL, ["same"] * 30, executor=pool, concurrency=4)
    results = batch.results()
    assert [r.value for r in results] == ["re: same"] * 30
    assert all(r.attempts == 1 for r in results)
    assert batch.usage.total_tokens > 0


@each_pool
def test_refusals_are_paced_on_every_executor(
    client: Client, gateway: FakeGateway, pool: Executor
) -> None:
    """A worker reports a refusal, and the driver sends the prompt again."""
    for _ in range(3):
        gateway.error(429, headers={"Retry-After": "0.1"})
    results = client.map(MODEL, map(str, range(12)), executor=pool, retries=0).results()
    assert [r.value for r in results] == [f"re: {n}" for n in range(12)]
    assert sum(r.attempts for r in results) == len(gateway.requests) == 15


@each_process_pool
def test_failures_come_back_from_a_process(
    client: Client, gateway: FakeGateway, pool: Executor
) -> None:
    """An error keeps its class and its attributes."""
    gateway.default = HTTPError(400, "bad prompt", type="bad_thing")
    [result] = client.map(MODEL, ["p"], executor=pool, on_error="keep")
    assert isinstance(result.error, PiNativeError)
    assert (result.error.status, result.error.code) == (400, "bad_thing")  # type: ignore[attr-defined]


@each_process_pool
def test_a_killed_worker_loses_nothing_that_was_paid_for(
    client: Client, gateway: FakeGateway, pool: Executor, tmp_path: Path
) -> None:
    """A killed worker breaks the pool; a second run with the save file sends only the rest."""
    save, prompts = tmp_path / "save.jsonl", [f"p{n}" for n in range(40)]

    once = threading.Lock()

    def answer(request: RecordedRequest) -> Reply:
        if len(gateway.requests) >= 20 and once.acquire(blocking=False):
            kill_workers(pool)
        return Reply(f"re: {request.last_user_text}")

    gateway.default = answer
    seen: list[Any] = []
    batch = client.map(MODEL, prompts, executor=pool, save=save, concurrency=4)
    with pytest.raises(BrokenExecutor):
        seen.extend(iter(batch.__next__, None))
    assert len(seen) >= 10
    first = len(gateway.requests)
    results = client.map(MODEL, prompts, save=save).results()
    assert [r.value for r in results] == [f"re: p{n}" for n in range(40)]
    assert sum(r.reused for r in results) >= first - 8
    assert len(gateway.requests) <= 40 + 8


def kill_workers(pool: Any) -> None:
    """Kill the processes of a pool by SIGKILL."""
    for process in list(pool._processes.values()):
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("method", ["spawn", "loky"])
def test_the_key_stays_here(
    gateway: FakeGateway, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without a key in its environment says so; `pickle_key=True` takes it along."""
    monkeypatch.delenv("PI_NATIVE_API_KEY")
    with POOLS[method]() as pool, Client(gateway.url, KEY) as client:
        assert KEY.encode() not in pickle.dumps(client)
        with pytest.raises(ConfigurationError, match="set PI_NATIVE_API_KEY in the environment"):
            client.map(MODEL, ["p"], executor=pool).results()
    assert gateway.requests == []
    with POOLS[method]() as pool, Client(gateway.url, KEY, pickle_key=True) as client:
        assert client.map(MODEL, ["p"], executor=pool).results()[0].value == "re: p"


@each_process_pool
def test_tasks_run_in_processes(client: Client, gateway: FakeGateway, pool: Executor) -> None:
    """A task of a module runs there; each process keeps its connections."""
    batch = client.map_tasks(work.process_of, map(str, range(20)), executor=pool, concurrency=2)
    processes = {r.value for r in batch}
    assert 1 <= len(processes) <= 2
    assert gateway.connections <= 4


@pytest.mark.parametrize("pool", ["spawn", "forkserver"], indirect=True)
def test_what_cannot_be_pickled_is_a_failure_of_its_item(client: Client, pool: Executor) -> None:
    """A lambda as a task, a value and an error that cannot be pickled do not break the pool."""
    for task in (lambda _client, _item: 1, work.return_lambda, work.raise_awkward):
        results = client.map_tasks(task, [1, 2], executor=pool, on_error="keep").results()
        assert all(r.error is not None for r in results)
    [error] = {str(r.error) for r in results}
    assert error == "AwkwardError: awkward indeed"
    assert client.map_tasks(work.ask, ["p"], executor=pool).results()[0].value == "re: p"


def test_an_executor_that_is_shut_down_is_an_error(client: Client, gateway: FakeGateway) -> None:
    """An error of `submit` ends the batch."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        client.map(MODEL, ["p"], executor=pool).results()
    assert gateway.requests == []


def dask(name: str, gateway: FakeGateway, *arguments: str) -> str:
    """Run one of the functions of `dask_program.py` in a process of its own; return its output."""
    pytest.importorskip("distributed")
    program = [sys.executable, "-W", "ignore", "-m", "tests.loopback.batch.dask_program"]
    done = subprocess.run(
        [*program, name, gateway.url, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_batch_runs_on_dask(gateway: FakeGateway) -> None:
    """Equal prompts are turns of their own, on an executor that is not pure."""
    assert dask("equal_prompts", gateway) == f"{['re: same'] * 20}\n"
    assert len(gateway.requests) == 20


def test_a_pure_executor_is_refused(gateway: FakeGateway) -> None:
    """Dask's executor makes one request of equal prompts, unless it is not pure."""
    output = dask("pure", gateway)
    assert output.count("client.get_executor(pure=False)") == 2
    assert gateway.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_dask_runs_a_killed_workers_turns_again(gateway: FakeGateway, tmp_path: Path) -> None:
    """A worker that is killed in a task is replaced, and all items end."""
    output = dask("killed_worker", gateway, str(tmp_path / "died"))
    assert output == f"{[f're: p{n}' for n in range(20)]}\n"
    assert len(gateway.requests) <= 20 + 8
