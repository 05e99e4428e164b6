"""Count the parts of a turn: its classes, and the files of an event and of a cancel.

    python -m benchmarks.parts

The files are those of `pi_native`, without `pi_native.testing`, in which a function is called:
between one event and the next of a slow answer, and from `stream.abort()` until the worker thread
has ended. The classes are those of which a turn on a kept connection creates an instance, without
the data that it carries: events and messages (`pi_native._types`), snapshots and the key.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pi_native
from pi_native import AssistantMessageEventStream, Client, TextDeltaEvent

from . import wires

PACKAGE = Path(pi_native.__file__).parent
LIMITS = {"classes": 14, "event": 9, "cancel": 11}
_DATA = {"AppendOnlyBytes", "Collector", "LazyMessage", "RawSnapshot", "Secret", "SharedSnapshot"}
_FRAMES = list(wires.text(20))
_MIDDLE = 10
_SECONDS = 10.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class SlowGateway:
    """A gateway with one connection, which sends one event each time it is asked to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def send(self, events: int = 1) -> None:
        """Send so many events."""
        self._go.release(events)

    def close(self) -> None:
        """Stop accepting connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    while _read_request(connection):
                        self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.sendall(_HEAD)
        for frame in _FRAMES:
            if not self._go.acquire(timeout=_SECONDS):
                return
            connection.sendall(b"%x\r\n%b\r\n" % (len(frame), frame))
        connection.sendall(b"0\r\n\r\n")


def _read_request(connection: socket.socket) -> bool:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return False
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return True


@contextlib.contextmanager
def calls(note: Callable[[FrameType], object]) -> Iterator[None]:
    """Have `note` called with the frame of each call, in this thread and in new ones."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            note(frame)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


class Files:
    """The files of the package in which a function was called."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def note(self, frame: FrameType) -> None:
        """Note the file of a call."""
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and "testing" not in path.parts:
            self.found.add(str(path.relative_to(PACKAGE)))


def in_middle(client: Client, gateway: SlowGateway) -> AssistantMessageEventStream:
    """Return a stream of which half of the events were read."""
    stream = client.stream("acme/slow", "hi")
    for events in (_MIDDLE - 1, 1):  # in two reads: the first ones of a turn do more
        gateway.send(events)
        for _ in range(events):
            next(stream)
    return stream


def finish(stream: AssistantMessageEventStream, gateway: SlowGateway, read: int = _MIDDLE) -> None:
    """Read the rest of a stream, and wait for its worker."""
    gateway.send(len(_FRAMES) - read)
    for _ in stream:
        pass
    _worker(stream).join(_SECONDS)


def files_of_an_event(client: Client, gateway: SlowGateway) -> set[str]:
    """Return the files that one delta in mid-stream runs through."""
    files = Files()
    with calls(files.note):
        stream = in_middle(client, gateway)
        files.found.clear()
        gateway.send()
        event = next(stream)
        found = set(files.found)
        finish(stream, gateway, _MIDDLE + 1)
    assert isinstance(event, TextDeltaEvent)
    return found


def files_of_a_cancel(client: Client, gateway: SlowGateway) -> set[str]:
    """Return the files that a cancel in mid-stream runs through, until the worker has ended."""
    files = Files()
    with calls(files.note):
        stream = in_middle(client, gateway)
        files.found.clear()
        stream.abort()
        _worker(stream).join(_SECONDS)
        return set(files.found)


def classes_of_a_turn(client: Client, gateway: SlowGateway) -> set[str]:
    """Return the classes of which a turn creates an instance."""
    found: set[type] = set()

    def note(frame: FrameType) -> None:
        if frame.f_code.co_name == "__init__" and "self" in frame.f_locals:
            found.add(type(frame.f_locals["self"]))

    finish(in_middle(client, gateway), gateway)
    before = {id(thing) for thing in gc.get_objects()}
    with calls(note):
        stream = in_middle(client, gateway)
        # Some classes have an __init__ that is written in C, which is no call to a profiler.
        found.update(type(thing) for thing in gc.get_objects() if id(thing) not in before)
        finish(stream, gateway)
    return {cls.__name__ for cls in found if _is_part(cls)}


def _is_part(cls: type) -> bool:
    home = cls.__module__
    if not home.startswith("pi_native") or home.startswith("pi_native.testing"):
        return False
    defined_in = {
        name for name in sys.modules if getattr(sys.modules[name], cls.__name__, 0) is cls
    }
    is_data = any(name.startswith("pi_native._types") for name in defined_in)
    return not (is_data or cls.__name__ in _DATA)


def _worker(stream: AssistantMessageEventStream) -> threading.Thread:
    worker = stream._producer.worker  # type: ignore[union-attr]
    assert isinstance(worker, threading.Thread)
    return worker


def count() -> dict[str, set[str]]:
    """Return the classes of a turn, the files of an event, and those of a cancel."""
    gateway = SlowGateway()
    with contextlib.closing(gateway), Client(gateway.url, "key", max_retries=0) as client:
        finish(in_middle(client, gateway), gateway)
        return {
            "classes": classes_of_a_turn(client, gateway),
            "event": files_of_an_event(client, gateway),
            "cancel": files_of_a_cancel(client, gateway),
        }


def main() -> None:
    """Print the numbers and the names."""
    names: Any = {"classes": "classes per turn", "event": "files per delta"}
    for kind, found in count().items():
        words = names.get(kind, "files per cancel")
        print(f"{words}: {len(found)} (at most {LIMITS[kind]}): {', '.join(sorted(found))}")


if __name__ == "__main__":
    main()
