"""The five situations: what the model answers in each, and the function that it may call."""

# No `from __future__ import annotations`: google-genai reads no annotations that are strings.
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

LEDGER = "/srv/private/ledger-2026.db"
REASON = "not during office hours"
LIMIT = 3


@dataclass(frozen=True)
class Call:
    """A call of the model."""

    id: str
    name: str
    arguments: dict[str, object]


Turn = str | tuple[Call, ...]


@dataclass
class Situation:
    """One conversation: the turns of the model (the last one repeats) and the user's function."""

    name: str
    turns: list[Turn]
    function: Callable[..., str]
    limit: int | None = None
    approval: bool = False
    ran: list[str] = field(default_factory=list)

    def asking_itself(self, error: type[Exception]) -> Callable[..., str]:
        """Return the function; if it needs approval, it raises the refusal by itself."""
        if not self.approval:
            return self.function

        @functools.wraps(self.function)
        def refused(**_: object) -> str:
            raise error(REASON)

        return refused


def all_situations() -> list[Situation]:
    """Return the situations, with an empty record of runs."""
    return [_unknown_tool(), _misfit(), _crash(), _limit(), _approval()]


def _unknown_tool() -> Situation:
    oslo = {"city": "Oslo", "days": 1}
    turn = (Call("call_1", "forecast", oslo), Call("call_2", "weather", oslo))
    return _weather("unknown tool", [turn, "Done."])


def _misfit() -> Situation:
    turn = (
        Call("call_1", "weather", {"city": "Oslo", "days": "two"}),
        Call("call_2", "weather", {"city": "Rome", "days": "2"}),
    )
    return _weather("misfit", [turn, "Done."])


def _limit() -> Situation:
    situation = _weather("limit", [(Call("call_1", "weather", {"city": "Oslo", "days": 1}),)])
    situation.limit = LIMIT
    return situation


def _weather(name: str, turns: list[Turn]) -> Situation:
    def weather(city: str, days: int) -> str:
        """Tell the weather of a city.

        Args:
            city: The city.
            days: The number of days.

        """
        situation.ran.append(f"weather({city!r}, {days!r})")
        return f"{city}: sunny"

    situation = Situation(name, turns, weather)
    return situation


def _crash() -> Situation:
    def total(year: int) -> str:
        """Add up the ledger of a year.

        Args:
            year: The year.

        """
        situation.ran.append(f"total({year!r})")
        raise RuntimeError(f"cannot read {LEDGER}")

    turn = (Call("call_1", "total", {"year": 2026}),)
    situation = Situation("crash", [turn, "Done."], total)
    return situation


def _approval() -> Situation:
    def delete(path: str) -> str:
        """Delete a file.

        Args:
            path: The file.

        """
        situation.ran.append(f"delete({path!r})")
        return f"{path} is gone"

    turn = (Call("call_1", "delete", {"path": "draft.txt"}),)
    situation = Situation("approval", [turn, "Done."], delete, approval=True)
    return situation
