"""The script of a fake gateway: the answers that are left, and the methods that add them."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from pi_native import ToolCall, Usage

from ._answers import Events, HTTPError, Raw, Scripted, Verbatim, check_answer
from ._faults import Fault
from ._replies import ErrorShape, FailedTurn, Reply
from ._request import STREAM_PATH, RecordedRequest
from ._response import Framing

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ScriptWriter"]

_SHOWN = 100  # characters of an entry


@attrs.frozen
class _Entry:
    path: str
    model: str | None
    answer: Scripted

    def fits(self, request: RecordedRequest) -> bool:
        return self.path == request.path and self.model in (None, request.model)


class Script:
    """Gives each entry to the first request that it is for. Threads may share it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, answers: Iterable[Scripted], path: str, model: str | None) -> None:
        """Append answers for a path, and with `model` for that model only."""
        with self._lock:
            self._entries += [_Entry(path, model, answer) for answer in answers]

    def take(self, request: RecordedRequest) -> Scripted | None:
        """Remove and return the first entry for the request, or None."""
        with self._lock:
            for index, entry in enumerate(self._entries):
                if entry.fits(request):
                    return self._entries.pop(index).answer
        return None

    def outline(self) -> list[str]:
        """Return one line for each entry that is left."""
        with self._lock:
            return [f"{entry.path}: {entry.answer!r:.{_SHOWN}}" for entry in self._entries]


class ScriptWriter:
    """The methods of `FakeGateway` that write its script. Each returns the gateway."""

    def __init__(self) -> None:
        self._script = Script()

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, the oldest first."""
        raise NotImplementedError

    def reply(
        self,
        text: str | Sequence[str] = "",
        *,
        thinking: str | Sequence[str] = "",
        tool_calls: Sequence[ToolCall | Mapping[str, Any]] = (),
        usage: Usage | Mapping[str, Any] | None = None,
        stop_reason: str | None = None,
        error_message: str | None = None,
        error_status: int | None = None,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script a turn of a model; see `Reply`."""
        answer = Reply(
            text,
            thinking=thinking,
            tool_calls=tool_calls,
            usage=usage,
            stop_reason=stop_reason,
            error_message=error_message,
            error_status=error_status,
            fault=fault,
        )
        return self.add(answer, times=times)

    def events(
        self,
        events: Sequence[Any],
        *,
        done: bool = True,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script a turn of given events, objects or wire JSON; see `Events`."""
        return self.add(Events(events, done=done, fault=fault), times=times)

    def raw(
        self,
        body: bytes | Sequence[bytes],
        *,
        framing: Framing = "chunked",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script a turn with a body of given bytes, in pieces or as a whole; see `Raw`."""
        answer = Raw(body, framing=framing, status=status, headers=headers or {}, fault=fault)
        return self.add(answer, times=times)

    def verbatim(
        self,
        response: bytes | Sequence[bytes],
        *,
        keep_alive: bool = False,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script a whole HTTP response, status line included; see `Verbatim`."""
        return self.add(Verbatim(response, keep_alive=keep_alive, fault=fault), times=times)

    def error(
        self,
        status: int,
        message: str | None = None,
        *,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script an HTTP error; see `HTTPError`. For an `error` event, see `failed_turn`."""
        answer = HTTPError(
            status, message, type=type, headers=headers or {}, body=body, fault=fault
        )
        return self.add(answer, times=times)

    def failed_turn(
        self,
        status: int | None = None,
        message: str | None = None,
        *,
        shape: ErrorShape = "message",
        text: str | Sequence[str] = "",
        type: str | None = None,
        reason: Literal["error", "aborted"] | None = "error",
        retry_after_ms: int | None = None,
        fault: Fault | Sequence[Fault] = (),
        times: int = 1,
    ) -> "Self":
        """Script a turn that ends in an `error` event after `text`; see `FailedTurn`."""
        answer = FailedTurn(
            status,
            message,
            shape=shape,
            text=text,
            type=type,
            reason=reason,
            retry_after_ms=retry_after_ms,
            fault=fault,
        )
        return self.add(answer, times=times)

    def add(
        self,
        *answers: Scripted,
        path: str = STREAM_PATH,
        model: str | None = None,
        times: int = 1,
    ) -> "Self":
        """Append to the script: answers for turns, or for another path, such as `/v1/models`.

        An entry is an answer, or a function that is called with the request and returns one. With a
        `model` it is for turns of that model only. `times` repeats each entry, for example for the
        retries of a client.
        """
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise ValueError(f"times must be a positive number, not {times!r}")
        for answer in answers:
            entry = answer if callable(answer) else check_answer(answer)
            self._script.add([entry] * times, path, model)
        return self

    @property
    def pending(self) -> int:
        """The number of script entries that no request has taken yet."""
        return len(self._script)

    def assert_done(self) -> None:
        """Raise AssertionError, which names them, if script entries are left."""
        left = self._script.outline()
        if left:
            came = [f"  {request!r}" for request in self.requests] or ["  nothing"]
            parts = [f"{len(left)} answers were not asked for:", *(f"  {line}" for line in left)]
            raise AssertionError("\n".join([*parts, "what came in:", *came]))
