"""Thirty typical uses of the package, as users write them.

mypy, pyright, ty and pyrefly must accept each one without a comment (`nox -s types`). It is never
run: `public_api.py` beside it checks the types in detail.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import requests
from typing_extensions import assert_never, assert_type

import pi_native
from pi_native import (
    AbortController,
    AbortError,
    AbortSignal,
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    Budget,
    Client,
    Context,
    Conversation,
    DoneEvent,
    ErrorEvent,
    EventStream,
    GatewayConnectionError,
    ImageContent,
    Message,
    Model,
    PiNativeError,
    ProviderError,
    RateLimitError,
    ResponseInfo,
    RetryInfo,
    StreamOptions,
    StreamTimeoutError,
    TextContent,
    TextDeltaEvent,
    Tool,
    ToolCall,
    ToolCallEndEvent,
    ToolResultMessage,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway, Stall

MODEL = "acme/small"


@dataclass
class City:
    """A value to extract."""

    name: str
    people: int


class Weather(TypedDict):
    """Another one."""

    degrees: float


def use_01_ask(client: Client) -> str:
    """Ask once."""
    return client.complete(MODEL, "Why?").text


def use_02_stream_text(client: Client) -> str:
    """Print the text as it arrives."""
    with client.stream(MODEL, "Why?") as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    return stream.result().text


def use_03_events(stream: AssistantMessageEventStream) -> list[str]:
    """Collect the deltas of a stream by the classes of its events."""
    return [event.delta for event in stream if isinstance(event, TextDeltaEvent)]


def use_04_match(event: AssistantMessageEvent) -> str:
    """Match over events."""
    match event:
        case TextDeltaEvent(delta=delta):
            return delta
        case ToolCallEndEvent(tool_call=call):
            return call.name
        case DoneEvent(message=message):
            return message.text
        case ErrorEvent(error=message):
            return message.error_message or ""
        case _:
            return ""


def use_05_by_type(event: AssistantMessageEvent) -> str | None:
    """Narrow an event by its `type`."""
    if event.type == "text_delta":
        return event.delta
    if event.type == "done":
        return event.reason
    return None


def use_06_cancel(client: Client) -> AssistantMessage:
    """Cancel from another thread."""
    stream = client.stream(MODEL, "Count.")
    threading.Timer(1.0, stream.abort).start()
    return stream.result(timeout=5)


def use_07_controller(client: Client) -> None:
    """Cancel several turns by one controller."""
    controller = AbortController()
    streams = [client.stream(MODEL, "Why?", signal=controller.signal) for _ in range(3)]
    controller.abort("enough")
    for stream in streams:
        stream.close()


def use_08_signals(client: Client, stop: threading.Event) -> str:
    """Pass a plain event, or a signal of several sources."""
    either = AbortSignal.any([AbortSignal.timeout(30), AbortController().signal])
    return (
        client.complete(MODEL, "a", signal=stop).text
        + client.complete(MODEL, "b", signal=either).text
    )


def use_09_errors(client: Client) -> str:
    """Handle each kind of failure."""
    try:
        return client.complete(MODEL, "Why?").raise_for_error().text
    except RateLimitError as exc:
        return f"wait {exc.retry_after or 1:.1f} s"
    except ProviderError as exc:
        return exc.kind
    except StreamTimeoutError as exc:
        return exc.phase
    except AbortError as exc:
        return str(exc.reason)
    except PiNativeError as exc:
        return exc.partial.text if exc.partial is not None else str(exc)


def use_10_phase(exc: GatewayConnectionError) -> int:
    """Distinguish all phases of a failed connection."""
    phase = exc.phase
    assert_type(phase, Literal["connect", "headers", "body"])
    if phase == "connect":
        return 1
    if phase == "headers":
        return 2
    if phase == "body":
        return 3
    assert_never(phase)


def use_11_time_limit(exc: StreamTimeoutError) -> float:
    """Read which limit was exceeded."""
    assert_type(exc.phase, Literal["connect", "headers", "first_event", "idle", "total"])
    return exc.limit or 0.0


def use_12_options(client: Client) -> str:
    """Give options by name."""
    return client.complete(
        MODEL, "Why?", temperature=0, max_tokens=100, reasoning="low", stop_sequences=["\n"]
    ).text


def use_13_client_arguments(session: requests.Session) -> Client:
    """Build a client with everything."""
    return Client(
        "http://127.0.0.1:4000",
        "key",
        session=session,
        max_retries=2,
        connect_timeout=5,
        idle_timeout=None,
        total_timeout=60.0,
    )


def use_14_low_level() -> str:
    """Make the low-level call."""
    model = Model("small", "acme", base_url="http://127.0.0.1:4000")
    context = Context([UserMessage("Why?")], system_prompt=["Be brief."])
    return stream_pi_native(model, context, StreamOptions(api_key="key")).result().text


def use_15_callbacks(client: Client) -> AssistantMessage:
    """Observe the response and the retries."""

    def on_response(info: ResponseInfo) -> None:
        print(info.status, info.headers.get("x-request-id"))

    def on_retry(retry: RetryInfo) -> None:
        print(retry.attempt, retry.delay, retry.failure)

    return client.complete(MODEL, "Why?", on_response=on_response, on_retry=on_retry)


def use_16_history(client: Client) -> list[Message]:
    """Send a history of messages."""
    messages: list[Message] = [UserMessage("Why?")]
    messages.append(client.complete(MODEL, messages))
    messages.append(UserMessage([TextContent("And now?")]))
    return messages


def use_17_conversation(client: Client, path: Path) -> Conversation:
    """Hold, save and load a conversation."""
    chat = Conversation(client, MODEL, system="Be brief.")
    print(chat.ask("Why?").text, chat.cost.total, chat.usage.output)
    with chat.stream("And now?") as stream:
        print("".join(stream.text_stream))
    chat.save(path)
    return Conversation.load(path, client, MODEL)


def use_18_images(client: Client) -> str:
    """Send an image."""
    picture = ImageContent.from_file("cat.png")
    return client.complete(MODEL, UserMessage([TextContent("What is this?"), picture])).text


def use_19_tool_declaration(client: Client) -> list[ToolCall]:
    """Declare a tool by its schema, and read the calls."""
    tool = Tool("add", "Add two numbers.", {"type": "object", "properties": {}})
    answer = client.complete(MODEL, Context([UserMessage("2+2")], tools=[tool]))
    return [block for block in answer.content if isinstance(block, ToolCall)]


def use_20_tool_result(call: ToolCall) -> ToolResultMessage:
    """Answer a tool call."""
    number = call.arguments["number"]
    return ToolResultMessage(call.id, call.name, [TextContent(str(number))])


@pi_native.tool
def double(number: int) -> int:
    """Double a number."""
    return number * 2


def use_21_function_tools(client: Client) -> str:
    """Let the model call functions."""
    chat = Conversation(client, MODEL, tools=[double])
    return chat.run("Twice 21?").text


def use_22_direct_call() -> int:
    """Call a function that is a tool."""
    return double(21)


def use_23_extract(client: Client) -> City:
    """Extract an object."""
    city = client.extract(MODEL, "Paris has 2 million people.", into=City)
    assert_type(city, City)
    return city


def use_24_extract_list(client: Client) -> list[City]:
    """Extract a list of objects, and a TypedDict."""
    weather = client.extract(MODEL, "It has 20 degrees.", into=Weather)
    print(weather["degrees"] + 1.5)
    return client.extract(MODEL, "Paris and Rome.", into=list[City])


def use_25_map(client: Client) -> list[str]:
    """Make many turns."""
    with client.map(MODEL, ["a", "b"], concurrency=4, budget=Budget(dollars=1.0)) as batch:
        texts = [result.message.text for result in batch if result.message is not None]
    print(batch.progress.done)
    return texts


def use_26_map_into(client: Client) -> list[City]:
    """Extract from many texts, on an executor."""
    with ThreadPoolExecutor(4) as pool:
        batch = client.map(MODEL, ["Paris", "Rome"], into=City, executor=pool)
        return [result.value for result in batch if result.value is not None]


def use_27_gateway(client: Client) -> list[str]:
    """Ask the gateway about itself."""
    print(client.health().ok, client.wait_until_ready(5).ok)
    return [f"{model.owned_by}/{model.id}" for model in client.models()]


def use_28_web(client: Client) -> Iterator[bytes]:
    """Pass a turn on to a browser."""
    yield from client.stream(MODEL, "Why?").sse(heartbeat=10)


def use_29_own_stream() -> str:
    """Make a stream of one's own events."""
    stream: EventStream[int, str] = EventStream()
    threading.Thread(target=lambda: stream.end("sum")).start()
    stream.push(1)
    print(sum(stream))
    return stream.result()


def use_30_tests() -> None:
    """Test a program against a fake gateway."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.reply(["Because", " of the air."], fault=Stall(after=2))
        stream = client.stream(MODEL, "Why?")
        request = gateway.wait_for_request()
        assert request.stalled.wait(5)
        gateway.release()
        message = stream.result()
        print(message.stats.duration if message.stats else 0, message.usage.cost.total)
