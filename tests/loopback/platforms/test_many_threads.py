"""Many threads on one client: cancels, drops, two readers of a stream, and Ctrl-C.

The short tests run everywhere. `test_stress` runs for a few seconds, or for as many as
PI_NATIVE_STRESS_SECONDS says: `nox -s stress` runs it for a minute without the GIL.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessageEventStream,
    Client,
    TextDeltaEvent,
)
from pi_native.testing import FakeGateway, Reply, Stall

from ...conftest import wait_until
from ..calls import KEY, workers

WORDS = [f"word{number} " for number in range(30)]
TEXT = "".join(WORDS)
SECONDS = float(os.environ.get("PI_NATIVE_STRESS_SECONDS", "4"))
LEFT = 60.0
THREADS = 64


def answer(request: Any) -> Reply:
    """Return the words; where the prompt asks for it, stall after half of them."""
    prompt = request.context["messages"][0]["content"]
    return Reply(WORDS, fault=Stall(after=15) if prompt == "stall" else ())


@pytest.fixture
def busy() -> Iterator[tuple[FakeGateway, Client]]:
    """Start a gateway that answers with many words, and a client of it."""
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, max_retries=0) as client:
        gateway.default = answer
        yield gateway, client
        gateway.release()


def read(stream: AssistantMessageEventStream) -> str:
    """Return the text of the deltas, and read each snapshot."""
    text = ""
    for event in stream:
        if isinstance(event, TextDeltaEvent):
            text += event.delta
        snapshot = event.partial
        assert snapshot is None or TEXT.startswith(snapshot.text)
    return text


def drop(held: list[Any]) -> None:
    """Remove the only reference, in another thread."""
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join(LEFT)


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


class Stress:
    """Threads that do one of several things to turns of one client, until they are stopped."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.done: Counter[str] = Counter()
        self.wrong: list[BaseException] = []
        self.enough = threading.Event()
        self._lock = threading.Lock()
        self._actions: list[Callable[[random.Random], None]] = [
            self.plain,
            self.cancelled,
            self.signalled,
            self.dropped,
            self.shared,
        ]

    def run(self, seed: int) -> None:
        """Do things in a random order."""
        chance = random.Random(seed)
        while not self.enough.is_set():
            action = chance.choice(self._actions)
            try:
                action(chance)
            except BaseException as exc:  # noqa: BLE001 - the test reports it
                self.wrong.append(exc)
                return
            with self._lock:
                self.done[action.__name__] += 1

    def plain(self, _: random.Random) -> None:
        """Read a whole turn."""
        stream = self.client.stream("x/y", "hi")
        assert read(stream) == TEXT
        assert stream.result(LEFT).text == TEXT

    def cancelled(self, chance: random.Random) -> None:
        """Abort from another thread at any moment: the turn is complete, or it is cancelled."""
        stream = self.client.stream("x/y", chance.choice(["hi", "stall"]))
        timer = threading.Timer(chance.random() * 0.02, stream.abort)
        timer.start()
        self._expect_an_end(stream)
        timer.join(LEFT)

    def signalled(self, chance: random.Random) -> None:
        """Abort three turns by one signal."""
        controller = AbortController()
        streams = [self.client.stream("x/y", "stall", signal=controller.signal) for _ in range(3)]
        self.enough.wait(chance.random() * 0.01)
        controller.abort()
        for stream in streams:
            self._expect_an_end(stream)

    def dropped(self, chance: random.Random) -> None:
        """Drop a running stream in another thread."""
        held = [self.client.stream("x/y", "stall")]
        self.enough.wait(chance.random() * 0.01)
        drop(held)

    def shared(self, _: random.Random) -> None:
        """Read one stream in two threads."""
        stream = self.client.stream("x/y", "hi")
        other: list[str] = []
        thread = threading.Thread(target=lambda: other.append(read(stream)))
        thread.start()
        mine = read(stream)
        thread.join(LEFT)
        assert len(mine) + len(other[0]) == len(TEXT)
        assert stream.result(LEFT).text == TEXT

    @staticmethod
    def _expect_an_end(stream: AssistantMessageEventStream) -> None:
        try:
            message = stream.result(LEFT)
        except AbortError:
            return
        assert message.stop_reason in ("stop", "aborted")


def interrupt_often(stress: Stress, turns: Counter[str], deadline: float) -> None:
    """Read turns in the main thread, and interrupt it, until the deadline."""
    while time.monotonic() < deadline and not stress.wrong:
        timer = threading.Timer(random.random() * 0.05, _thread.interrupt_main)
        try:
            timer.start()
            while True:
                with stress.client.stream("x/y", "hi") as stream:
                    assert read(stream) == TEXT
                turns["complete"] += 1
        except KeyboardInterrupt:
            turns["interrupted"] += 1
        timer.join(LEFT)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stress(busy: tuple[FakeGateway, Client]) -> None:
    """Every turn of 64 threads ends as it must, and no thread and no connection is left."""
    _, client = busy
    stress = Stress(client)
    turns: Counter[str] = Counter()
    threads = [threading.Thread(target=stress.run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        interrupt_often(stress, turns, time.monotonic() + SECONDS)
    finally:
        stress.enough.set()
    for thread in threads:
        thread.join(LEFT)
    assert not any(thread.is_alive() for thread in threads)
    if stress.wrong:
        raise stress.wrong[0]
    print(dict(stress.done), dict(turns))
    assert set(stress.done) == {"plain", "cancelled", "signalled", "dropped", "shared"}
    assert turns["interrupted"]
    gc.collect()
    assert wait_until(lambda: not workers(), LEFT)
