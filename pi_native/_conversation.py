"""A conversation: the history, and the turns that go on with it.

A turn's both sides are added together, when there is an answer, and before any reader of its stream
learns that it has ended. Until then the history is as it was, so a turn that fails or is cancelled
leaves no question in it that nobody answered.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

from ._client import Client, context_of, messages_of
from ._saved import FilePath, read_context, write_context
from ._turn.stream import AssistantMessageEventStream
from ._types.messages import AssistantMessage, Cost, Message, Usage
from ._types.request import Model, Tool
from .errors import ConfigurationError, ConversationBusyError

if TYPE_CHECKING:
    from typing_extensions import Self

_BUSY = "a turn of this conversation is running: end it, or copy()"

Said = str | Message | Sequence[Message]


class Conversation:
    """A history that grows with each turn.

    `client` makes the turns, with `model`, "provider/id" or a `Model`; both can be set later, and
    changed between turns. `system`, `tools` and `messages` are what there is to begin with;
    `options` are fields of `StreamOptions`, for every turn.

    * `context` is what goes out with the next prompt: system prompt, tools and messages.
    * A turn that fails, is cancelled, or ends early adds nothing: neither its prompt nor what there
      was of its answer, which its stream still has, as `partial`.
    * There is one turn at a time; `copy()` to go on in two ways at once.

    A pickle has what the client's own has, and no key that was given as an option.

        >>> chat = Conversation(Client(), "anthropic/claude-sonnet-4-5", system="Be brief.")
        >>> chat.ask("Why is the sky blue?").text
        'Because of the air.'
        >>> [message.role for message in chat.messages]
        ['user', 'assistant']
        >>> chat.save("chat.jsonl")
    """

    def __init__(
        self,
        client: Client | None = None,
        model: str | Model | None = None,
        *,
        system: str | Sequence[str] | None = None,
        tools: Sequence[Tool] | None = None,
        messages: Iterable[Message] = (),
        **options: Any,
    ) -> None:
        self.client = client
        self.model = model
        self.context = context_of(list(messages), system, tools)
        self.options = options
        self._forget_turns()

    @property
    def messages(self) -> list[Message]:
        """The history, oldest first. A list of your own: change it between turns as you like."""
        return self.context.messages

    def add(self, *messages: Message) -> None:
        """Add messages without a turn, such as a tool's results."""
        self.messages.extend(messages_of(messages))

    def stream(self, prompt: Said | None = None, **options: Any) -> AssistantMessageEventStream:
        """Start a turn and return its stream at once. When it has ended well, it is in the history.

        `prompt` is a string, a message or several; without one, the history goes out as it is, for
        instance after a tool's results. `options` are fields of `StreamOptions`, for this turn.
        Raises `ConfigurationError` without a client, a model, or anything to say, and
        `ConversationBusyError` while another turn runs; other failures come out of the stream.
        """
        said = [] if prompt is None else messages_of(prompt)
        client, model = self._ready()

        def keep(answer: AssistantMessage) -> None:
            self.messages.extend((*said, answer))

        with self._alone():
            context = attrs.evolve(self.context, messages=[*self.messages, *said])
            if not context.messages:
                raise ConfigurationError("there is nothing to say yet: give a prompt")
            stream = client._start_turn(model, context, {**self.options, **options}, keep)
            self._streams[os.getpid()] = weakref.ref(stream)  # one that is dropped ends its turn
        return stream

    def ask(self, prompt: Said | None = None, **options: Any) -> AssistantMessage:
        """Make a turn and return its answer, which is then in the history.

        Takes what `stream` takes. Raises what the stream would, and `ProviderError` for a turn
        that the provider failed.
        """
        return self.stream(prompt, **options)._result_alone().raise_for_error()

    def copy(self) -> Conversation:
        """A conversation that goes on from here by itself. Its messages are copies."""
        twin = copy.copy(self)
        twin.context = copy.deepcopy(self.context)
        twin.options = dict(self.options)
        return twin

    @property
    def usage(self) -> Usage:
        """The tokens and the cost of all answers in the history, each of which is in `messages`.

        The counts that every provider has, and reasoning tokens and premium requests where there
        are any. Turns that failed are not in the history; what they report is on their message.
        """
        return _sum_of(m.usage for m in self.messages if isinstance(m, AssistantMessage))

    @property
    def cost(self) -> Cost:
        """What all answers in the history have cost, in US dollars; in all, `cost.total`."""
        return self.usage.cost

    def save(self, path: FilePath) -> None:
        """Write the context to a file, as JSON Lines: a line for each message as on the wire.

        System prompt and tools, if there are any, come first, on a line without a role. Client,
        model and options are not written, so no key is. An existing file is replaced as a whole or
        left as it was; a new one can be read by its owner only. Raises `OSError`, and `TypeError`
        or `ValueError` for a message that JSON cannot hold.
        """
        write_context(path, self.context)

    @classmethod
    def load(
        cls,
        path: FilePath,
        client: Client | None = None,
        model: str | Model | None = None,
        **options: Any,
    ) -> Self:
        """Read what `save` wrote. Nothing is lost on the way, known to this version or not.

        Raises `OSError`, and `DecodeError`, which names the line that is no message.
        """
        loaded = cls(client, model, **options)
        loaded.context = read_context(path)
        return loaded

    def __repr__(self) -> str:
        # Of a model only its name: it has headers.
        model = self.model if not isinstance(self.model, Model) else self.model.id
        return f"Conversation({self.client!r}, {model!r}, {len(self.messages)} messages)"

    def _repr_html_(self) -> str:
        """Return the messages as notebooks show them."""
        from ._notebook.views import conversation_html  # only notebooks need it

        return conversation_html(self.messages)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        kept["options"] = {k: v for k, v in self.options.items() if k != "api_key"}
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_turns()

    def _ready(self) -> tuple[Client, str | Model]:
        if self.client is None or self.model is None:
            missing = "client" if self.client is None else "model"
            raise ConfigurationError(f"the conversation has no {missing} to go on with: set one")
        return self.client, self.model

    def _forget_turns(self) -> None:
        # By process: a forked child has no part in its parent's turns.
        self._starting: dict[int, object] = {}
        self._streams: dict[int, weakref.ref[AssistantMessageEventStream]] = {}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Where one thread at a time may start a turn. Raises `ConversationBusyError` in others."""
        # No lock, which a fork could copy while it is held: `setdefault` is atomic.
        process, claim = os.getpid(), object()
        if self._starting.setdefault(process, claim) is not claim:
            raise ConversationBusyError(_BUSY)
        try:
            stream = self._streams.get(process, _no_stream)()
            if stream is not None and not stream.done:
                raise ConversationBusyError(_BUSY)
            yield
        finally:
            del self._starting[process]


def _no_stream() -> None:
    """Stands for a reference to a stream that is gone."""


_COUNTS = ("input", "output", "cache_read", "cache_write", "total_tokens")
_OPTIONAL = ("premium_requests", "reasoning_tokens")
_PRICES = ("input", "output", "cache_read", "cache_write", "total")


def _sum_of(usages: Iterable[Usage | None]) -> Usage:
    # Whoever sent a message may have left out any part of it, whatever the annotations say.
    known = [usage for usage in usages if usage is not None]
    costs = [usage.cost for usage in known if usage.cost is not None]
    return Usage(
        **_sums(known, _COUNTS, sum),
        **{name: value for name, value in _sums(known, _OPTIONAL, sum).items() if value},
        cost=Cost(**_sums(costs, _PRICES, math.fsum)),
    )


def _sums(
    objects: Sequence[object], names: Iterable[str], add: Callable[[Iterable[Any]], Any]
) -> dict[str, Any]:
    """The sum of each field, over the objects that have it."""
    return {name: add(v for v in map(attrgetter(name), objects) if v is not None) for name in names}
