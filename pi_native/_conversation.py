"""A conversation: a history, and the turns that continue it.

Prompt and answer of a turn are added together, when the turn has succeeded and before a reader of
its stream sees the end. A turn that fails or is cancelled adds nothing, so the history holds no
prompt without its answer.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

import attrs

from ._client.client import Client
from ._conversation_file import FilePath, read_context, write_context
from ._prompts import Tools, context_of, declarations, expect, messages_of, tools_of
from ._turn.stream import AssistantMessageEventStream
from ._types.content import ToolCall
from ._types.gateway import ModelInfo
from ._types.messages import AssistantMessage, Cost, Message, Usage
from ._types.request import Context, Model, Tool
from .errors import ConfigurationError, ConversationBusyError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._tools.function import FunctionTool
    from ._tools.rounds import Rounds
    from ._types.messages import ToolResultMessage
    from ._types.options import ConversationOptions as Options

_BUSY = "a turn of this conversation is running: end it (rounds by close()), or copy()"

T = TypeVar("T")
Said = str | Message | Sequence[Message]


class Conversation:
    """A history that grows with each turn.

    `client` makes the turns, with `model`: "provider/id", a `ModelInfo` or a `Model`. Both can be
    set later, and changed between turns. `system`, `tools` and `messages` are the initial context;
    `options` are options of `Client.stream`, for every turn.

    * `context` is sent with the next prompt: system prompt, tools and messages.
    * `session_id` is sent with every turn, unless the options have one. It is new in a `copy()`,
      and not in the file.
    * A turn that fails, is cancelled, or ends early adds neither its prompt nor its partial answer;
      the answer is the `partial` of its stream.
    * One turn runs at a time; use a `copy()` for another one at the same time.

    A pickle has no key that was given as an option; its client has one as a client's pickle has.

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
        model: str | Model | ModelInfo | None = None,
        *,
        system: str | Sequence[str] | None = None,
        tools: Tools | None = None,
        messages: Iterable[Message] = (),
        **options: Unpack[Options],
    ) -> None:
        if client is not None:
            expect(client, Client, "client")
        if model is not None and not isinstance(model, (str, Model, ModelInfo)):
            kind = type(model).__name__
            raise TypeError(f'model must be "provider/id" or a Model or a ModelInfo, not {kind}')
        self.client = client
        self.model = model
        self.session_id: str = _new_session_id()
        self.context: Context = context_of(list(messages), system, None)
        self.options: dict[str, Any] = {**options}
        self._functions: dict[str, FunctionTool[..., Any]] = {}
        if tools is not None:
            self._attach(tools)
        self._forget_turns()

    @property
    def messages(self) -> list[Message]:
        """The history, oldest first. The list may be changed between turns."""
        return self.context.messages

    def add(self, *messages: Message) -> None:
        """Add messages without a turn, such as a tool's results."""
        self.messages.extend(messages_of(messages))

    def stream(
        self, prompt: Said | None = None, **options: Unpack[Options]
    ) -> AssistantMessageEventStream:
        """Start a turn and return its stream at once. A turn that succeeds is added to the history.

        `prompt` is a string, a message or several; without one, the history is sent as it is, for
        example after a tool's results. `options` are options of `Client.stream`, for this turn.
        Raises `ConfigurationError` without a client, a model, or anything to say, and
        `ConversationBusyError` while another turn runs; other failures come out of the stream.
        """
        said = [] if prompt is None else messages_of(prompt)
        client, model = self._ready()

        def keep(answer: AssistantMessage) -> None:
            # Called again if a Ctrl-C interrupts it; one `extend` adds both sides or neither.
            if not any(message is answer for message in self.messages[-1:]):
                self.messages.extend((*said, answer))

        with self._alone():
            context = attrs.evolve(self.context, messages=[*self.messages, *said])
            if not context.messages:
                raise ConfigurationError("there is nothing to say yet: give a prompt")
            merged = {"session_id": self.session_id, **self.options, **options}
            stream = client._start_turn(model, context, merged, keep)
            self._streams[os.getpid()] = weakref.ref(stream)  # a dropped stream ends its turn
        return stream

    def ask(self, prompt: Said | None = None, **options: Unpack[Options]) -> AssistantMessage:
        """Make a turn, add it to the history, and return its answer.

        Takes the arguments of `stream`. Raises the errors of the stream, and `ProviderError` for a
        turn that the provider failed.
        """
        return self.stream(prompt, **options)._final_message_alone()

    def run(
        self,
        prompt: Said | None = None,
        *,
        max_rounds: int = 10,
        approve: Callable[[ToolCall], bool | str | Mapping[str, Any]] | None = None,
        workers: int = 8,
        on_tool: Callable[[ToolCall, ToolResultMessage], object] | None = None,
        **options: Unpack[Options],
    ) -> AssistantMessage:
        """Make turns, and run the tools that the model calls, until it answers without a call.

        `prompt` and `options` are those of `stream`. A history that ends in calls without results,
        for example from a file, begins with these calls. A `tool_choice` that forces a call applies
        to the first request.

        * `max_rounds`: the number of requests. In the last one no tool is run any more.
        * `approve(call)` is called for tools with `approve=True`, in this thread and before any
          tool of the round starts. It returns True, False or a reason to refuse, or the arguments
          to run with.
        * `workers`: the number of tools that run at the same time, in threads.
        * `on_tool(call, result)` is called in this thread after each tool.

        A call of an unknown tool, arguments that do not fit, a `ToolError` and a refusal are
        results that are marked as errors, and the model continues. Any other exception of a tool is
        raised here, and the model sees that the tool failed. If this method raises, each call in
        the history still has a result, and the conversation can be continued.

        Raises `ToolRoundsError` after `max_rounds` requests, or for the third equal call with an
        equal failing result; `AbortError` for a cancel, which does not wait for tools; what `ask`
        raises; and `ConfigurationError` before the first request: for a tool without a function,
        and for one that must be approved without an `approve`.

            >>> def clock(zone: str) -> str:
            ...     "Tell the time in a zone."
            ...     return "half past nine"
            >>> Conversation(Client(), "acme/clocks", tools=[clock]).run("What time is it?").text
            'It is half past nine.'
        """
        from ._tools.loop import ToolLoop  # a later package; see test_layers.py

        return ToolLoop(
            self,
            prompt,
            max_rounds=max_rounds,
            approve=approve,
            workers=workers,
            on_tool=on_tool,
            options=options,
        ).run()

    def rounds(
        self,
        prompt: Said | None = None,
        *,
        max_rounds: int = 10,
        approve: Callable[[ToolCall], bool | str | Mapping[str, Any]] | None = None,
        workers: int = 8,
        on_tool: Callable[[ToolCall, ToolResultMessage], object] | None = None,
        **options: Unpack[Options],
    ) -> Rounds:
        """Return the streams of `run`, one for each request, as an iterator.

        Takes the arguments of `run`. The tools of an answer run when the next stream is asked for;
        the answer and their results are added to the history together.

            >>> chat = Conversation(Client(), "anthropic/claude-sonnet-4-5")
            >>> for stream in chat.rounds("Why is the sky blue?"):
            ...     for text in stream.text_stream:
            ...         print(text, end="")
            Because of the air.
        """
        from ._tools.loop import ToolLoop
        from ._tools.rounds import Rounds

        return Rounds(
            ToolLoop(
                self,
                prompt,
                max_rounds=max_rounds,
                approve=approve,
                workers=workers,
                on_tool=on_tool,
                options=options,
            )
        )

    @overload
    def extract(
        self, into: type[T], prompt: Said | None = None, **options: Unpack[Options]
    ) -> T: ...

    @overload
    def extract(
        self,
        into: Mapping[str, Any],
        prompt: Said | None = None,
        **options: Unpack[Options],
    ) -> dict[str, Any]: ...

    def extract(
        self,
        into: Any,
        prompt: Said | None = None,
        *,
        retries: int = 2,
        force: bool | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Make a turn whose answer is a value of the type `into`, and return the value.

        `into`, `retries` and `force` are those of `Client.extract`; the rest is as in `ask`. The
        turns are then in the history, with their calls answered; the tools stay as they were.
        Raises what `Client.extract` raises; the history then stays as it was.
        """
        from ._tools.calls import extract_with_conversation  # a later package; see test_layers.py

        return extract_with_conversation(
            self, into, prompt, retries=retries, force=force, options=options
        )

    def copy(self) -> Conversation:
        """Return an independent conversation with a copy of the history and a new session id."""
        twin = copy.copy(self)
        twin.context = copy.deepcopy(self.context)
        twin.options = dict(self.options)
        twin._functions = dict(self._functions)
        twin.session_id = _new_session_id()
        twin._forget_turns()
        twin._files = dict(self._files)
        return twin

    @property
    def usage(self) -> Usage:
        """The tokens and the cost of all answers in the history, each of which is in `messages`.

        The sum of the counts that every provider reports, and of reasoning tokens and premium
        requests. Turns that failed are not in the history; their usage is in their message.
        """
        return _sum_of(m.usage for m in self.messages if isinstance(m, AssistantMessage))

    @property
    def cost(self) -> Cost:
        """The cost of all answers in the history, in US dollars; `cost.total` is the sum."""
        return self.usage.cost

    def save(self, path: FilePath) -> None:
        """Write the context to a file, as JSON Lines: one line per message, as on the wire.

        System prompt and tools, if there are any, are the first line, which has no role. Client,
        model and options are not written, and so no key. An existing file keeps its owner and mode,
        and is replaced as a whole or left unchanged (a bind-mounted one is written in place); only
        the owner can read a new one. Raises `OSError`, also when the file is read-only, or has
        changed since this conversation read or wrote it; `TypeError` or `ValueError` for a message
        that JSON cannot hold.
        """
        name = os.path.realpath(path)
        self._files[name] = write_context(path, self.context, self._files.get(name))

    @classmethod
    def load(
        cls,
        path: FilePath,
        client: Client | None = None,
        model: str | Model | ModelInfo | None = None,
        *,
        tools: Tools | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Read a file of `save`, without loss, also what this version does not know.

        `tools` are added to those in the file, and replace those of the same name: the file has no
        functions. Raises `OSError`, `DecodeError`, which names the line that is no message, and
        `ConfigurationError` for tools that cannot be declared.
        """
        loaded = cls(client, model, **options)
        loaded.context, fingerprint = read_context(path)
        if tools is not None:
            loaded._attach(tools)
        loaded._files[os.path.realpath(path)] = fingerprint
        return loaded

    def __repr__(self) -> str:
        # The name of the model only: a Model has headers, which may hold a key.
        model = self.model.id if isinstance(self.model, (Model, ModelInfo)) else self.model
        return f"Conversation({self.client!r}, {model!r}, {len(self.messages)} messages)"

    def _repr_html_(self) -> str:
        """Return the messages as notebooks show them."""
        from ._notebook.views import conversation_html  # only notebooks need it

        return conversation_html(self.messages)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        kept["options"] = {k: v for k, v in self.options.items() if k != "api_key"}
        kept["_functions"] = self._functions
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_turns()

    def _attach(self, tools: Tools) -> None:
        """Declare the tools, in place of those of the same name, and keep their functions."""
        attached = tools_of(tools)
        declared = {tool.name: tool for tool in self.context.tools or ()}
        declared.update({tool.name: tool for tool in declarations(attached)})
        self.context.tools = list(declared.values())
        for tool in attached:
            if isinstance(tool, Tool):
                self._functions.pop(tool.name, None)
            else:
                self._functions[tool.name] = tool

    def _ready(self) -> tuple[Client, str | Model | ModelInfo]:
        if self.client is None or self.model is None:
            missing = "client" if self.client is None else "model"
            raise ConfigurationError(f"the conversation has no {missing}: set one")
        return self.client, self.model

    def _forget_turns(self) -> None:
        self._files: dict[str, str] = {}  # fingerprints of what was read or written, by path
        # By process: a forked child does not share its parent's turns.
        self._starting: dict[int, object] = {}
        self._streams: dict[int, weakref.ref[AssistantMessageEventStream]] = {}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread at a time start a turn. Raises `ConversationBusyError` in others."""
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


def _new_session_id() -> str:
    return str(uuid.uuid4())


def _no_stream() -> None:
    """Return None, as a reference to a stream that is gone does."""


_COUNTS = ("input", "output", "cache_read", "cache_write", "total_tokens")
_OPTIONAL = ("premium_requests", "reasoning_tokens")
_PRICES = ("input", "output", "cache_read", "cache_write", "total")


def _sum_of(usages: Iterable[Usage | None]) -> Usage:
    # A message from the wire may lack any part.
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
    """Return the sum of each field over the objects that have it."""
    return {name: add(v for v in map(attrgetter(name), objects) if v is not None) for name in names}
