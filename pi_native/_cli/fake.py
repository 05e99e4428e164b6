"""`demo` and `fake-gateway`: try the client without a gateway, a model or a bill."""

from __future__ import annotations

import argparse
import contextlib
import os
import time

from pi_native import Client

from .ask import show_answer
from .console import Console

_MODEL = "fake/parrot"
_PROMPT = "What am I looking at?"
_ANSWER = """\
These words arrive one by one, like the words of a model: over HTTP, as
server-sent events, in the pi-native protocol.

No model has written them. They come from a fake gateway, which listens on
this machine and replaces the real one, here as in tests. The numbers below
are invented as well."""
_SERVED = (
    "Hello! I am the fake gateway of pi_native. There is no model behind me, "
    "so this is my only answer."
)
_SECONDS_A_WORD = 0.05
_LONG = 3600.0  # seconds; Ctrl-C interrupts a sleep on every system


def demo(_args: argparse.Namespace, console: Console) -> int:
    """Stream a turn through a fake gateway."""
    from pi_native.testing import FakeGateway, Slow

    with FakeGateway() as gateway:
        gateway.reply(_ANSWER, fault=Slow(_SECONDS_A_WORD))
        console.note(
            f"A fake gateway listens on {gateway.url}: there is no model behind it and no bill."
        )
        console.note(f'It is asked "{_PROMPT}" and answers:\n')
        with (
            Client(gateway.url, gateway.api_key) as client,
            client.stream(_MODEL, _PROMPT) as stream,
        ):
            show_answer(stream, console, with_summary=True)
    console.note("With a gateway of your own: pi-native ask -m PROVIDER/ID 'Hello!'")
    return 0


def fake_gateway(args: argparse.Namespace, console: Console) -> int:
    """Serve a fake gateway until it is interrupted."""
    from pi_native.testing import FakeGateway, Reply, Slow

    gateway = FakeGateway(port=args.port)
    gateway.default = Reply(_SERVED, fault=Slow(_SECONDS_A_WORD))
    try:
        gateway.start()
    except OSError as exc:
        console.problem(f"cannot listen on port {args.port}: {os.strerror(exc.errno or 0)}")
        return 1
    with contextlib.closing(gateway):
        for line in _instructions(gateway.url, gateway.api_key):
            console.line(line)
        while True:
            time.sleep(_LONG)


def _instructions(url: str, key: str | None) -> list[str]:
    return [
        f"A fake gateway listens on {url}, its key is {key}. There is no model behind it.",
        "Try it from another terminal, with this command or with a program of yours:",
        "",
        f"    PI_NATIVE_BASE_URL={url} PI_NATIVE_API_KEY={key} \\",
        f"        pi-native ask -m {_MODEL} 'Hello!'",
        "",
        "Ctrl-C ends it.",
    ]
