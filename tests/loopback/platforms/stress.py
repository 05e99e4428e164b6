"""A program with many threads on one client, which Ctrl-C interrupts again and again.

`python -m tests.loopback.platforms.stress SECONDS` ends with 0 when every turn ended as it must,
and no worker thread is left. It is a process of its own because an interrupt can come at any point:
one that came in the lock of coverage.py left the whole test run hanging.
"""

from __future__ import annotations

import _thread
import faulthandler
import gc
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

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
LEFT = 60.0
THREADS = 64


def answer(request: Any) -> Reply:
    """Return the words; where the prompt asks for it, stall after half of them."""
    prompt = request.context["messages"][0]["content"]
    return Reply(WORDS, fault=Stall(after=15) if prompt == "stall" else ())


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
            # An interrupt within a finalizer is lost.
            while time.monotonic() < deadline + 1:
                with stress.client.stream("x/y", "hi") as stream:
                    assert read(stream) == TEXT
                turns["complete"] += 1
        except KeyboardInterrupt:
            turns["interrupted"] += 1
        timer.join(LEFT)


def main(seconds: float) -> None:
    """Run the threads for that long. Raises the first thing that went wrong."""
    faulthandler.dump_traceback_later(seconds + 2 * LEFT, exit=True)
    # A stream that is dropped in the middle of a turn warns. An interrupt that comes within a
    # finalizer cannot be raised, and Python prints it.
    warnings.simplefilter("ignore", ResourceWarning)
    sys.unraisablehook = lambda _: None
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, max_retries=0) as client:
        gateway.default = answer
        stress = Stress(client)
        turns: Counter[str] = Counter()
        threads = [threading.Thread(target=stress.run, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            interrupt_often(stress, turns, time.monotonic() + seconds)
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
        gateway.release()


if __name__ == "__main__":
    main(float(sys.argv[1]))
