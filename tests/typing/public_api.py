"""The types of the public names. Checked by mypy and pyright, never run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import requests
from typing_extensions import assert_never, assert_type

from pi_native import (
    AbortController,
    AbortError,
    AbortSignal,
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    AuthGatewayError,
    Batch,
    BatchResult,
    Block,
    Budget,
    Client,
    Context,
    Conversation,
    Cost,
    CredentialsCheck,
    DeveloperMessage,
    DoneEvent,
    ErrorEvent,
    EventStream,
    FallbackContent,
    FunctionTool,
    GatewayConnectionError,
    Health,
    ImageContent,
    ImageEndEvent,
    Message,
    Model,
    ModelInfo,
    PiNativeError,
    Progress,
    ProviderError,
    RedactedThinkingContent,
    ResponseInfo,
    RetryInfo,
    Rounds,
    ServerToolContent,
    Setting,
    SseEvent,
    StartEvent,
    StreamOptions,
    StreamStats,
    StreamTimeoutError,
    TextContent,
    TextDeltaEvent,
    TextEndEvent,
    TextStartEvent,
    ThinkingContent,
    ThinkingDeltaEvent,
    ThinkingEndEvent,
    ThinkingStartEvent,
    Tool,
    ToolCall,
    ToolCallDeltaEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolError,
    ToolResultMessage,
    ToolRoundsError,
    UnknownContent,
    UnknownEvent,
    UnknownMessage,
    Usage,
    UsageSnapshot,
    UserMessage,
    from_wire,
    stream_pi_native,
    to_wire,
    tool,
)
from pi_native.testing import FakeGateway, RecordedRequest, Reply, Stall, record


def a_call(session: requests.Session, controller: AbortController) -> None:
    """Check that each option and argument accepts the documented types."""

    def on_response(info: ResponseInfo) -> None:
        assert_type(info.status, int)
        assert_type(info.headers, Mapping[str, str])
        assert_type(info.request_id, str | None)

    def on_sse_event(event: SseEvent) -> None:
        assert_type(event.data, str)

    def on_retry(retry: RetryInfo) -> None:
        assert_type(retry.attempt, int)
        assert_type(retry.delay, float)
        assert_type(retry.failure, PiNativeError)

    options = StreamOptions(
        api_key="key",
        signal=controller.signal,
        session=session,
        on_response=on_response,
        on_retry=on_retry,
        on_sse_event=on_sse_event,
        on_incomplete="error",
        reasoning="high",
        tool_choice={"type": "tool", "name": "search"},
        temperature=0,
        extra={"newOption": True},
    )
    model = Model("m", "p", base_url="http://127.0.0.1:4000", headers={"x-team": "a"})
    context = Context([UserMessage("hi")], system_prompt=["Be brief."], tools=None)
    stream = stream_pi_native(model, context, options)
    assert_type(stream, AssistantMessageEventStream)
    assert_type(stream_pi_native(model, context), AssistantMessageEventStream)
    assert_type(options.signal, AbortSignal | threading.Event | None)


def what_was_measured(stream: AssistantMessageEventStream) -> None:
    """Check that statistics are numbers, or None without a value."""
    assert_type(stream.stats, StreamStats)
    assert_type(stream.stats.time_to_first_text, float | None)
    assert_type(stream.stats.tokens_per_second, float | None)
    assert_type(stream.stats.duration, float)
    assert_type(stream.stats.events, int)
    assert_type(stream.result().stats, StreamStats | None)


def a_stream(stream: AssistantMessageEventStream) -> None:
    """Check the types of all results of a stream."""
    for event in stream:
        assert_type(event, AssistantMessageEvent)
    assert_type(next(stream), AssistantMessageEvent)
    assert_type(stream.text_stream, Iterator[str])
    assert_type(stream.result(), AssistantMessage)
    assert_type(stream.result(timeout=1.5), AssistantMessage)
    assert_type(stream.partial, AssistantMessage | None)
    assert_type(stream.response, ResponseInfo | None)
    assert_type(stream.truncated, bool)
    assert_type(stream.attempts, int)
    assert_type(stream.done, bool)
    assert_type(stream.abort("enough"), None)
    assert_type(stream.close(), None)
    assert_type(stream.display(), AssistantMessage)
    with stream as same:
        assert_type(same, AssistantMessageEventStream)


def a_stream_of_ones_own() -> None:
    """Check that `EventStream` is generic in its events and its result."""
    stream: EventStream[int, str] = EventStream()
    stream.push(1)
    stream.end("sum")
    stream.fail(ValueError("no"))
    assert_type(next(stream), int)
    assert_type(stream.result(), str)
    stream.push("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def an_event_by_its_type(event: AssistantMessageEvent) -> None:
    """Check that a comparison of `type` narrows an event to its class."""
    assert_type(event.partial, AssistantMessage | None)
    if event.type == "text_delta":
        assert_type(event, TextDeltaEvent)
        assert_type(event.delta, str)
        assert_type(event.content_index, int)
    elif event.type == "thinking_delta":
        assert_type(event, ThinkingDeltaEvent)
    elif event.type == "toolcall_end":
        assert_type(event, ToolCallEndEvent)
        assert_type(event.tool_call, ToolCall)
    elif event.type == "image_end":
        assert_type(event, ImageEndEvent)
        assert_type(event.content, ImageContent)
    elif event.type == "done":
        assert_type(event, DoneEvent)
        assert_type(event.message, AssistantMessage)
        assert_type(event.partial, AssistantMessage)
    elif event.type == "error":
        assert_type(event, ErrorEvent)
        assert_type(event.error, AssistantMessage)


def every_event_by_its_class(event: AssistantMessageEvent) -> str:
    """Check that `match` over the classes is exhaustive, and matches by position."""
    match event:
        case TextDeltaEvent(index, delta) | ThinkingDeltaEvent(index, delta):
            assert_type(index, int)
            return delta
        case ToolCallDeltaEvent(_, delta):
            return delta
        case TextEndEvent(_, content) | ThinkingEndEvent(_, content):
            return content
        case ToolCallEndEvent(_, call):
            assert_type(call, ToolCall)
            return call.name
        case ImageEndEvent(_, image):
            return image.mime_type
        case StartEvent() | TextStartEvent() | ThinkingStartEvent() | ToolCallStartEvent():
            return event.type
        case DoneEvent(message=message):
            return message.text
        case ErrorEvent(error=message):
            return message.error_message or ""
        case UnknownEvent(data):
            assert_type(data, dict[str, Any])
            return str(data)
        case _:
            assert_never(event)


def every_block_by_its_class(block: Block) -> str:
    """Check that the blocks of a message are a closed union."""
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, ThinkingContent):
        return block.thinking
    if isinstance(block, (RedactedThinkingContent, ImageContent)):
        return block.data
    if isinstance(block, ToolCall):
        return block.name
    if isinstance(block, FallbackContent):
        return str(block.to)
    if isinstance(block, ServerToolContent):
        return str(block.block)
    if isinstance(block, UnknownContent):
        return str(block.data)
    assert_never(block)


def a_block_by_its_type(block: Block) -> None:
    """Check that a comparison of `type` narrows a block to its class."""
    if block.type == "toolCall":
        assert_type(block, ToolCall)
    elif block.type == "text":
        assert_type(block, TextContent)


def a_message_by_its_role(message: Message) -> None:
    """Check that a comparison of `role` narrows a message; all roles together are the union."""
    if message.role == "assistant":
        assert_type(message, AssistantMessage)
    elif message.role == "user":
        assert_type(message, UserMessage)
    elif message.role == "developer":
        assert_type(message, DeveloperMessage)
    elif message.role == "toolResult":
        assert_type(message, ToolResultMessage)
    else:
        assert_type(message, UnknownMessage)


def a_conversation(client: Client, tools: list[Tool]) -> None:
    """Check that a history can contain results."""
    messages: list[Message] = [UserMessage("hi")]
    answer = client.complete("p/m", messages, tools=tools, system="Be brief.", temperature=0.5)
    assert_type(answer, AssistantMessage)
    assert_type(answer.content, list[Block])
    assert_type(answer.text, str)
    assert_type(answer.thinking, str)
    assert_type(answer.tool_calls, list[ToolCall])
    assert_type(answer.usage, Usage)
    assert_type(answer.raise_for_error(), AssistantMessage)
    messages.append(answer)
    messages.append(ToolResultMessage("id", "search", "nothing found", is_error=True))
    messages.append(UserMessage([TextContent("look"), ImageContent("AAAA", "image/png")]))
    assert_type(client.stream("p/m", messages), AssistantMessageEventStream)
    assert_type(client.stream(Model("m", "p"), "hi"), AssistantMessageEventStream)
    assert_type(client.stream("p/m", UserMessage("hi")), AssistantMessageEventStream)
    assert_type(client.stream("p/m", Context(messages)), AssistantMessageEventStream)
    assert_type(client.stream("p/m", "hi", signal=threading.Event()), AssistantMessageEventStream)
    assert_type(client.complete(ModelInfo(id="p/m"), "hi", idle_timeout=5), AssistantMessage)
    client.stream("p/m", "hi", first_event_timeout=5, total_timeout=None, reasoning="high")
    client.stream("p/m", "hi", max_token=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.stream("p/m", "hi", reasoning="extreme")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("p/m", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def images(figure: object) -> None:
    """Check the sources of an image."""
    assert_type(ImageContent.from_file("a.png", "image/png", detail="low"), ImageContent)
    assert_type(ImageContent.from_bytes(b"..."), ImageContent)
    assert_type(ImageContent.from_url_bytes("https://x.test/a", bytearray()), ImageContent)
    assert_type(ImageContent.from_image(figure, "jpeg"), ImageContent)


def a_history(client: Client, tools: list[Tool]) -> None:
    """Check the types of a conversation."""
    chat = Conversation(client, "p/m", system="Be brief.", tools=tools, temperature=0.5)
    assert_type(chat.ask("hi"), AssistantMessage)
    assert_type(chat.stream([UserMessage("hi")], reasoning="low"), AssistantMessageEventStream)
    chat.add(ToolResultMessage("id", "search", "nothing found"), UserMessage("Well?"))
    assert_type(chat.ask(), AssistantMessage)
    assert_type(chat.messages, list[Message])
    assert_type(chat.context, Context)
    assert_type(chat.usage, Usage)
    assert_type(chat.cost, Cost)
    assert_type(chat.copy(), Conversation)
    chat.save("chat.jsonl")
    assert_type(Conversation.load("chat.jsonl", client, Model("m", "p")), Conversation)
    chat.ask(Context([]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_client() -> None:
    """Check the results of the other calls, and that the client is a context manager."""
    with Client("http://127.0.0.1:4000", "key", max_retries=0, total_timeout=30) as client:
        assert_type(client, Client)
        assert_type(client.models(), list[ModelInfo])
        assert_type(client.models(kind=None), list[ModelInfo])
        assert_type(client.wait_until_ready(timeout=5), Health)
        assert_type(Context.from_openai([{"role": "user", "content": "hi"}], tools=[]), Context)
        assert_type(client.health(), Health)
        assert_type(client.usage(), UsageSnapshot)
        assert_type(client.check_credentials(), CredentialsCheck)
        assert_type(client.settings, list[Setting])
    assert_type(Client.from_models_yml("acme", total_timeout=30), Client)
    Client(on_incomplete="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_cancel() -> None:
    """Check that signals combine."""
    controller = AbortController()
    signal = AbortSignal.any([controller.signal, AbortSignal.timeout(3)])
    assert_type(signal, AbortSignal)
    assert_type(signal.aborted, bool)
    assert_type(signal.wait(0.1), bool)
    remove = signal.add_listener(lambda: None)
    assert_type(remove(), None)
    controller.abort(reason="enough")


def a_failure(stream: AssistantMessageEventStream) -> None:
    """Check the types of the attributes of an error."""
    try:
        stream.result()
    except AuthGatewayError as exc:
        assert_type(exc.status, int)
        assert_type(exc.retry_after, float | None)
        assert_type(exc.retryable, bool)
    except ProviderError as exc:
        assert_type(exc.message, AssistantMessage | None)
    except StreamTimeoutError as exc:
        assert_type(exc.limit, float | None)
        if exc.phase == "idle":
            return
    except GatewayConnectionError as exc:
        if exc.phase == "body":
            return
    except AbortError as exc:
        assert_type(exc.reason, object)
    except PiNativeError as exc:
        assert_type(exc.partial, AssistantMessage | None)


def the_wire(event: AssistantMessageEvent) -> None:
    """Check that `from_wire` returns the requested class or union."""
    assert_type(from_wire({"role": "assistant"}, AssistantMessage), AssistantMessage)
    wire = to_wire(event)
    assert wire["type"]


def batches(client: Client) -> None:
    """Check the types of batches and of extracted values."""
    texts = client.map("a/b", ["Hi"], concurrency=2, save="x.jsonl", budget=Budget(dollars=1))
    assert_type(texts, Batch[str])
    assert_type(next(texts).value, str)
    assert_type(client.map("a/b", ["Hi"], into=Model).results(), list[BatchResult[Model]])
    assert_type(client.map("a/b", ["Hi"], into={"type": "object"}), Batch[dict[str, Any]])
    assert_type(client.map_tasks(lambda _client, item: item + 1, [1]), Batch[int])
    assert_type(texts.progress, Progress)
    assert_type(client.extract("a/b", "Hi", into=Model, retries=1), Model)
    assert_type(client.extract("a/b", "Hi", {"type": "object"}), dict[str, Any])
    assert_type(Conversation(client, "a/b").extract(Model, "Hi"), Model)
    client.map("a/b", ["Hi"], concurency=2)  # type: ignore[call-overload]  # pyright: ignore


@tool
def clock(zone: str, *, exact: bool = False) -> float:
    """Tell the time."""
    return float(exact) + len(zone)


@tool(name="other", approve=True, parallel=False)
def decorated(items: list[int]) -> list[int]:
    """Return the items."""
    return items


def tools_of_a_conversation(client: Client) -> None:
    """Check that a tool keeps the signature of its function."""
    assert_type(clock("UTC", exact=True), float)
    assert_type(decorated([1]), list[int])
    assert_type(tool(len), FunctionTool[[Sized], int])
    assert_type(clock.name, str)
    assert_type(clock.parameters, dict[str, Any])
    assert_type(clock.declaration, Tool)
    assert_type(clock.call(ToolCall("1", "clock", {})), ToolResultMessage)
    clock(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    clock("UTC", exakt=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    decorated()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    def plain(text: str) -> str:
        return text

    declared = Tool("plain", "Plain.", {})
    assert_type(client.complete("a/b", "Hi", tools=[clock, plain, declared]), AssistantMessage)
    chat = Conversation(client, "a/b", tools=[clock, decorated, plain])
    assert_type(Conversation.load("chat.jsonl", client, "a/b", tools=[plain]), Conversation)
    assert_type(chat.run("Hi", max_rounds=3, workers=2, temperature=0.5), AssistantMessage)
    assert_type(chat.run(approve=lambda _: True, on_tool=lambda *_: None), AssistantMessage)
    chat.run("Hi", approve=lambda call: {"zone": "UTC"} if call.name == "clock" else "no")
    chat.run("Hi", approve=lambda _: None)  # type: ignore[arg-type, return-value]  # pyright: ignore
    rounds = chat.rounds("Hi", signal=threading.Event())
    assert_type(rounds, Rounds)
    streams: Iterator[AssistantMessageEventStream] = rounds
    with rounds:
        assert_type(next(rounds), AssistantMessageEventStream)
    assert_type(list(streams), list[AssistantMessageEventStream])
    assert_type(rounds.message, AssistantMessage | None)
    assert_type(rounds.display(), AssistantMessage)
    try:
        raise ToolError("no such city")
    except ToolRoundsError as exc:
        assert_type(exc.rounds, int)
    except ToolError:
        pass


def other_peoples_tests(client: Client) -> None:
    """Check the types of the fake gateway, its requests, and recordings."""
    with record(client, "turn.jsonl") as nothing:
        assert_type(nothing, None)
    with FakeGateway.replay("turn.jsonl", speed=2, models=["a/b"]) as gateway:
        assert_type(gateway, FakeGateway)
        gateway.add(Reply("Hi", fault=Stall(2)), model="a/b").reply("Hi").assert_done()
        request = gateway.last_request
        assert_type(request, RecordedRequest)
        assert_type(request.model, str)
        assert_type(request.last_user_text, str | None)
        assert_type(request.options, dict[str, Any])
