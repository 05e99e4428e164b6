"""The fake gateway of pi_native with the interface of `Provider`."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from pi_native import ToolCall
from pi_native.testing import FakeGateway, Reply

from .provider import MAX_REQUESTS
from .situations import Turn

KEY = "test-key"


class Gateway:
    """The gateway of one run, as a context manager. The last of `turns` repeats."""

    def __init__(self, turns: list[Turn]) -> None:
        self._gateway = FakeGateway(KEY)
        script = [*turns, *[turns[-1]] * MAX_REQUESTS][:MAX_REQUESTS]
        self._gateway.add(*(_reply(turn, number) for number, turn in enumerate(script, 1)))

    @property
    def url(self) -> str:
        """The base URL."""
        return self._gateway.url

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the requests."""
        return [request.json for request in self._gateway.requests]

    @property
    def results(self) -> list[str]:
        """The results in the newest request, which holds the whole history."""
        if not self._gateway.requests:
            return []
        return [
            f"error: {_text(message)}" if message["isError"] else _text(message)
            for message in self._gateway.last_request.messages
            if message["role"] == "toolResult"
        ]

    def __enter__(self) -> Gateway:
        self._gateway.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gateway.close()


def _reply(turn: Turn, number: int) -> Reply:
    if isinstance(turn, str):
        return Reply(turn)
    calls = [ToolCall(f"{call.id}_{number}", call.name, dict(call.arguments)) for call in turn]
    return Reply(tool_calls=calls)


def _text(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message["content"])
