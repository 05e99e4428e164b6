"""Many threads on one client: cancels, drops, two readers of a stream, and Ctrl-C.

The short tests run everywhere. `test_stress` runs for a few seconds, or for as many as
PI_NATIVE_STRESS_SECONDS says: `nox -s stress` runs it for a minute without the GIL.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AssistantMessageEventStream,
    Client,
    TextDeltaEvent,
)
from pi_native.testing import FakeGateway, Stall

from ...conftest import wait_until
from ..calls import KEY
from .stress import LEFT, TEXT, WORDS, answer

SECONDS = float(os.environ.get("PI_NATIVE_STRESS_SECONDS", "4"))


@pytest.fixture
def busy() -> Iterator[tuple[FakeGateway, Client]]:
    """Start a gateway that answers with many words, and a client of it."""
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, max_retries=0) as client:
        gateway.default = answer
        yield gateway, client
        gateway.release()


@contextlib.contextmanager
def of_a_blocked_thread(make: Callable[[], object]) -> Iterator[list[Any]]:
    """Return a list with the only reference to an object, whose maker runs no Python code."""
    held: list[Any] = []
    blocked = threading.Lock()

    def own() -> None:
        held.append(make())
        blocked.acquire()

    def is_blocked() -> bool:
        if not held:
            return False  # the frames of the call refer to the object, and belong to its maker
        frame = sys._current_frames().get(owner.ident or 0)
        return frame is not None and frame.f_code is own.__code__

    owner = threading.Thread(target=own)
    with blocked:
        owner.start()
        assert wait_until(is_blocked)
        yield held
    owner.join(LEFT)


def test_a_stream_that_another_thread_drops_is_cancelled_at_once(
    busy: tuple[FakeGateway, Client],
) -> None:
    """The connection is closed although the thread that made the stream only waits."""
    gateway, client = busy
    with of_a_blocked_thread(lambda: client.stream("x/y", "stall")) as held:
        request = gateway.wait_for_request()
        assert request.stalled.wait(LEFT)
        with pytest.warns(ResourceWarning, match="dropped"):
            held.clear()
        assert request.client_gone.wait(10)


def test_a_batch_that_another_thread_drops_is_cancelled_at_once(
    busy: tuple[FakeGateway, Client],
) -> None:
    """The turns of the batch end although the thread that made it only waits."""
    gateway, client = busy
    gateway.reply("no words").reply(WORDS, fault=Stall(after=15))
    prompts = ["a", "b"]
    with of_a_blocked_thread(
        lambda: client.map("x/y", prompts, concurrency=2, ordered=False)
    ) as held:
        next(held[0])
        requests = [gateway.wait_for_request(), gateway.wait_for_request()]
        assert wait_until(lambda: any(one.stalled.is_set() for one in requests))
        stalled = next(one for one in requests if one.stalled.is_set())
        held.clear()
        assert stalled.client_gone.wait(10)


def test_two_readers_share_the_events(busy: tuple[FakeGateway, Client]) -> None:
    """Each event goes to one of them, both see the end, and both get the same result."""
    _, client = busy
    for _ in range(10):
        stream = client.stream("x/y", "hi")
        found: list[list[str]] = [[], []]
        texts: list[str] = []

        def reader(
            into: list[str],
            stream: AssistantMessageEventStream = stream,
            texts: list[str] = texts,
        ) -> None:
            into += [event.delta for event in stream if isinstance(event, TextDeltaEvent)]
            texts.append(stream.result(LEFT).text)

        threads = [threading.Thread(target=reader, args=(into,)) for into in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LEFT)
        assert sorted(found[0] + found[1]) == sorted(WORDS)
        assert texts == [TEXT, TEXT]


@pytest.mark.slow
def test_stress() -> None:
    """Every turn of 64 threads ends as it must, between interrupts, and no thread is left."""
    command = [sys.executable, "-m", f"{__package__}.stress", str(SECONDS)]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=SECONDS + 240)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stderr
