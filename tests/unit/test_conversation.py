"""A conversation without its turns: the history, its sums, its forks, and its file."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pi_native import (
    AssistantMessage,
    Client,
    ConfigurationError,
    Context,
    Conversation,
    Cost,
    DecodeError,
    DeveloperMessage,
    ImageContent,
    Message,
    Model,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UnknownMessage,
    Usage,
    UserMessage,
    from_wire,
    to_wire,
)

from ..repetitions import repetitions
from .protocol.test_convert_properties import MESSAGE, OTHERS, parsed, same

CLOCK = Tool("clock", "Tells the time.", {"type": "object"}, extra={"x": None})
ANSWER = AssistantMessage([ToolCall("1", "clock", {})], stop_reason="toolUse")
RESULT = ToolResultMessage("1", "clock", "noon")


# The history.


def test_it_begins_with_what_it_is_given() -> None:
    """System prompt, tools and messages stand in the context that goes out."""
    chat = Conversation(system="Be brief.", tools=[CLOCK], messages=(UserMessage("hi"),))
    assert chat.context.system_prompt == ["Be brief."]
    assert chat.context.tools == [CLOCK]
    assert chat.messages is chat.context.messages
    assert [m.role for m in chat.messages] == ["user"]


def test_messages_are_added_without_a_turn() -> None:
    """Several at a time, in order; what is no message is refused, and nothing is added."""
    chat = Conversation()
    chat.add(ANSWER, RESULT)
    assert chat.messages == [ANSWER, RESULT]
    with pytest.raises(TypeError):
        chat.add(UserMessage("hi"), "and a text")  # type: ignore[arg-type]
    assert chat.messages == [ANSWER, RESULT]


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        (Conversation(model="x/y"), "no client"),
        (Conversation(Client("http://localhost:1")), "no model"),
    ],
    ids=["no client", "no model"],
)
def test_a_turn_needs_a_client_and_a_model(chat: Conversation, words: str) -> None:
    """A missing client, model or prompt is an error before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        chat.stream("hi")


def test_a_turn_needs_something_to_say() -> None:
    """Without a prompt and a history there is nothing to send."""
    with pytest.raises(ConfigurationError, match="prompt"):
        Conversation(Client("http://localhost:1"), "x/y").ask()


def test_a_whole_context_is_no_prompt() -> None:
    """It would have a history of its own."""
    chat = Conversation(Client("http://localhost:1"), "x/y")
    with pytest.raises(TypeError):
        chat.stream(Context([UserMessage("hi")]))  # type: ignore[arg-type]


# Sums.


def test_usage_and_cost_are_the_sums_of_the_answers() -> None:
    """Each count and each price is added up, over the assistant's messages alone."""
    first = Usage(input=10, output=5, total_tokens=15, reasoning_tokens=3, cost=Cost(total=0.5))
    second = Usage(input=1, cache_read=20, total_tokens=21, cost=Cost(input=0.2, total=0.2))
    chat = Conversation(
        messages=[
            UserMessage("hi", extra={"usage": {"input": 7}}),
            AssistantMessage(usage=first),
            AssistantMessage(usage=second),
        ]
    )
    assert chat.usage == Usage(
        input=11,
        output=5,
        cache_read=20,
        total_tokens=36,
        reasoning_tokens=3,
        cost=Cost(input=0.2, total=0.7),
    )
    assert chat.cost == chat.usage.cost


def test_a_cost_is_not_off_by_what_adding_up_loses() -> None:
    """Ten times ten cents are a dollar, and not 0.9999999999999999."""
    answers = [AssistantMessage(usage=Usage(cost=Cost(total=0.1))) for _ in range(10)]
    assert Conversation(messages=answers).cost.total == 1


def test_answers_without_usage_count_nothing() -> None:
    """A message may have left out its usage, its cost, or any part of them."""
    wires: list[dict[str, Any]] = [
        {"role": "assistant"},
        {"role": "assistant", "usage": {"input": 2}},
        {"role": "assistant", "usage": {"output": 3, "cost": {"total": 1}}},
    ]
    chat = Conversation(messages=[from_wire(wire, AssistantMessage) for wire in wires])
    assert chat.usage == Usage(input=2, output=3, cost=Cost(total=1))
    assert Conversation().usage == Usage()


# Forks, copies and pickles.


def test_a_copy_is_independent() -> None:
    """Neither list, message nor option of one is the other's."""
    client = Client("http://localhost:1")
    chat = Conversation(client, "x/y", system="Be brief.", messages=[ANSWER], temperature=1)
    twin = chat.copy()
    assert (twin.client, twin.model, twin.options) == (client, "x/y", {"temperature": 1})
    assert twin.context == chat.context
    twin.add(RESULT)
    twin.options["temperature"] = 0
    assert isinstance(twin.messages[0], AssistantMessage)
    twin.messages[0].content.clear()
    assert chat.messages == [AssistantMessage([ToolCall("1", "clock", {})], **_rest(ANSWER))]
    assert chat.options == {"temperature": 1}


def _rest(message: AssistantMessage) -> dict[str, Any]:
    return {"stop_reason": message.stop_reason, "timestamp": message.timestamp}


def test_a_fork_has_the_key_and_a_pickle_has_not() -> None:
    """The process that reads a pickle finds its own key, as with clients."""
    client = Client("http://localhost:1", "clients-key")
    chat = Conversation(client, "x/y", api_key="options-key", temperature=1, messages=[ANSWER])
    assert chat.copy().options == {"api_key": "options-key", "temperature": 1}
    pickled = pickle.dumps(chat)
    assert b"-key" not in pickled
    loaded = pickle.loads(pickled)
    assert loaded.context == chat.context
    assert loaded.options == {"temperature": 1}
    loaded.copy()
    assert copy.deepcopy(chat).context == chat.context


def test_a_repr_shows_neither_words_nor_keys() -> None:
    """A repr shows the client, the model, and the number of messages."""
    model = Model("y", "x", headers={"Authorization": "Bearer secret"})
    client = Client("http://localhost:1", "secret")
    chat = Conversation(client, model, api_key="secret", system="secret")
    chat.add(UserMessage("secret"))
    assert repr(chat) == "Conversation(Client('http://localhost:1'), 'y', 1 messages)"


# The file.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a path for a saved conversation."""
    return tmp_path / "chat.jsonl"


def test_a_line_of_the_file_is_a_message_on_the_wire(file: Path) -> None:
    """Without a system prompt and tools there is nothing in it but messages."""
    chat = Conversation(messages=[UserMessage("hi\nthere"), ANSWER, RESULT])
    chat.save(file)
    lines = file.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == [to_wire(m) for m in chat.messages]
    assert lines[-1] == b""


def test_everything_comes_back(file: Path) -> None:
    """Messages, unknown ones included, system prompt and tools are in the file."""
    messages: list[Message] = [
        UserMessage([TextContent("half \ud83d, line \u2028, nul \0"), ImageContent("AA==", "a/b")]),
        DeveloperMessage("\ufeff", extra={"new": None, "number": 1.0}),
        from_wire({"role": "assistant", "stopDetails": None, "usage": None}, AssistantMessage),
        RESULT,
        UnknownMessage({"role": "oracle", "says": [True, None, 1, 1.5]}),
    ]
    chat = Conversation(system=["Be brief.", "Be kind."], tools=[CLOCK], messages=messages)
    chat.context.extra["later"] = {"a": None}
    chat.save(file)
    client = Client("http://localhost:1")
    loaded = Conversation.load(file, client, "x/y", temperature=0)
    assert loaded.context == chat.context
    assert same(to_wire(loaded.context), to_wire(chat.context))
    assert (loaded.client, loaded.model, loaded.options) == (client, "x/y", {"temperature": 0})


def test_a_first_message_without_a_role_comes_back(file: Path) -> None:
    """It is not mistaken for what goes out before the messages."""
    chat = Conversation(messages=[UnknownMessage({"tools": []}), RESULT])
    chat.save(file)
    assert Conversation.load(file).context == chat.context


@settings(max_examples=repetitions(25, 8))  # each is a file on a disk
@given(wire=OTHERS[Context], messages=st.lists(MESSAGE, max_size=3))
def test_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, wire: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    """Any context that can be read from the wire comes back from a file the same."""
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    chat = Conversation()
    chat.context = from_wire(parsed({**wire, "messages": messages}), Context)
    chat.save(file)
    assert same(to_wire(Conversation.load(file).context), to_wire(chat.context))


def test_no_key_is_in_the_file(file: Path) -> None:
    """Client, model and options stay where they are."""
    model = Model("y", "x", headers={"Authorization": "Bearer secret"})
    chat = Conversation(Client("http://localhost:1", "secret"), model, api_key="secret")
    chat.add(UserMessage("hi"))
    chat.save(file)
    assert b"secret" not in file.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        '{"role":"user","content":"hi","timestamp":1}',
        '\n{"role":"user","content":"hi","timestamp":1}\r\n\r\n',
        '\ufeff{"role": "user", "content": "h\\u0069", "timestamp": 1}\n',
    ],
    ids=["no last line end", "blank lines", "from an editor"],
)
def test_a_file_from_elsewhere_is_read(file: Path, content: str) -> None:
    """Line ends, blank lines, a byte order mark and the spelling of JSON make no difference."""
    file.write_bytes(content.encode())
    assert Conversation.load(file).messages == [UserMessage("hi", timestamp=1)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"role":"user","content":7}', r"\$\.content"),
        (b'["role"]', "not an object"),
        (b'{"role":"user","cont', "not JSON"),
        (b'{"role":"user","content":"\xff"}', "not JSON"),
        (b'{"role":"user","content":NaN}', "not JSON"),
    ],
)
def test_a_broken_line_is_named(file: Path, line: bytes, words: str) -> None:
    """The error tells the file, the line and the fault."""
    file.write_bytes(b'{"role":"user","content":"hi"}\n' + line + b"\n")
    with pytest.raises(DecodeError, match=rf"chat\.jsonl, line 2: .*{words}") as caught:
        Conversation.load(file)
    assert len(caught.value.problems) == 1


def test_a_missing_file_is_the_systems_own_error(file: Path) -> None:
    """A file that is missing differs from one that is broken."""
    with pytest.raises(FileNotFoundError):
        Conversation.load(file)


def test_a_file_that_cannot_be_written_is_left_as_it_was(file: Path) -> None:
    """A message that JSON cannot hold is an error, and the file is unchanged."""
    chat = Conversation(messages=[UserMessage("hi")])
    chat.save(file)
    before = file.read_bytes()
    chat.add(ToolResultMessage("1", "clock", "x", details=float("nan")))
    with pytest.raises(ValueError):
        chat.save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_a_disk_that_fails_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written is left behind, under no name."""
    Conversation(messages=[UserMessage("hi")]).save(file)
    before = file.read_bytes()

    def fail(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        Conversation(messages=[ANSWER]).save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_a_new_file_is_its_owners_and_an_old_one_stays_whose_it_is(file: Path) -> None:
    """A conversation is private, unless its file has been given to others."""
    chat = Conversation(messages=[ANSWER])
    chat.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    chat.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_link_is_followed(file: Path, tmp_path: Path) -> None:
    """The file that it points to is replaced, and the link stays."""
    link = tmp_path / "link"
    link.symlink_to(file)
    Conversation(messages=[ANSWER]).save(link)
    assert link.is_symlink()
    assert Conversation.load(file).messages == [ANSWER]


def test_what_is_no_file_is_written_to(file: Path) -> None:
    """A pipe gets the lines; it is not replaced by a file."""
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Conversation(messages=[ANSWER]).save(file)
        assert json.loads(os.read(reader, 65536)) == to_wire(ANSWER)
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(file.stat().st_mode)
