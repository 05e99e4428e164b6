"""Tasks and programs for worker processes, which import them by name."""

from __future__ import annotations

import os
import signal

from pi_native import Client

MODEL = "acme/parrot"


def ask(client: Client, item: str) -> str:
    """Make a turn."""
    return client.complete(MODEL, item).text


def process_of(client: Client, item: str) -> int:
    """Make a turn and return the worker's process."""
    client.complete(MODEL, item)
    return os.getpid()


def die_once(client: Client, item: str) -> str:
    """Make a turn, and kill the worker the first time that the item names a file to create."""
    text = client.complete(MODEL, item.rpartition("|")[2]).text
    marker = item.rpartition("|")[0]
    if marker:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return text
        os.kill(os.getpid(), signal.SIGKILL)
    return text


class AwkwardError(Exception):
    """An error that cannot be unpickled: it wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raise_awkward(_client: Client, _item: object) -> None:
    """Raise an error that would break a pool."""
    raise AwkwardError("awkward", "indeed")


def return_lambda(_client: Client, _item: object) -> object:
    """Return a value that cannot be pickled."""
    return lambda: None
