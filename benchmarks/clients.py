"""The compared clients, each as a function that makes one turn, and a job that times it.

A turn reads the answer to its end, looks at the kind of every event, and returns how many deltas
there were, so that a client which lost some would be noticed.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from typing import Any

Turn = Callable[[], int]
_PROMPT = [{"role": "user", "content": "Why is the sky blue?"}]


def pi_native(url: str) -> Turn:
    """Return a turn of this client: every event, and then the result."""
    from pi_native import Context, Model, UserMessage, stream_pi_native

    model = Model("y", "x", base_url=url)
    context = Context([UserMessage("Why is the sky blue?")])

    def turn() -> int:
        deltas = 0
        stream = stream_pi_native(model, context)
        for event in stream:
            if event.type == "text_delta" or event.type == "toolcall_delta":
                deltas += 1
        stream.result()
        return deltas

    return turn


def plain(url: str) -> Turn:
    """Return a turn with requests, sseclient-py and `json.loads`: ten lines of code."""
    import requests
    from sseclient import SSEClient

    session = requests.Session()

    def turn() -> int:
        deltas = 0
        with session.post(url, json=_PROMPT, stream=True) as response:
            for frame in SSEClient(response.raw.stream(65536)).events():
                if frame.data != "[DONE]":
                    deltas += json.loads(frame.data)["type"].endswith("_delta")
        return deltas

    return turn


def drain(url: str) -> Turn:
    """Return a turn that only reads the response, and returns its number of bytes."""
    import requests

    session = requests.Session()

    def turn() -> int:
        with session.post(url, json=_PROMPT, stream=True) as response:
            return sum(map(len, response.raw.stream(65536)))

    return turn


def openai(url: str) -> Turn:
    """Return a turn of the `openai` SDK, which streams chat-completion chunks."""
    client = importlib.import_module("openai").OpenAI(base_url=url, api_key="x", max_retries=0)

    def turn() -> int:
        deltas = 0
        for part in client.chat.completions.create(model="y", messages=_PROMPT, stream=True):
            if part.choices[0].delta.content:
                deltas += 1
        return deltas

    return turn


def anthropic(url: str) -> Turn:
    """Return a turn of the `anthropic` SDK: every event, and then the final message."""
    sdk = importlib.import_module("anthropic")
    client = sdk.Anthropic(base_url=url, api_key="x", max_retries=0)

    def turn() -> int:
        deltas = 0
        with client.messages.stream(model="y", max_tokens=9, messages=_PROMPT) as stream:
            for event in stream:
                if event.type == "content_block_delta":
                    deltas += 1
            stream.get_final_message()
        return deltas

    return turn


CLIENTS: dict[str, Callable[[str], Turn]] = {
    "pi_native": pi_native,
    "plain": plain,
    "drain": drain,
    "openai": openai,
    "anthropic": anthropic,
}


def job(client: str, url: str, turns: str) -> dict[str, Any]:
    """Make a turn to warm up and then `turns` more; return the CPU and wall seconds of each.

    CPU is that of the whole process, user and system, from one turn's end to the next one's: what
    another thread still does when a turn is over counts as well.
    """
    turn = CLIENTS[client](url)
    returned = turn()
    cpu, wall = [], []
    cpu_before, wall_before = time.process_time(), time.perf_counter()
    for _ in range(int(turns)):
        turn()
        cpu_now, wall_now = time.process_time(), time.perf_counter()
        cpu.append(cpu_now - cpu_before)
        wall.append(wall_now - wall_before)
        cpu_before, wall_before = cpu_now, wall_now
    return {"cpu": cpu, "wall": wall, "returned": returned}
