"""The low-level call: one turn of a model object, without a client."""

from __future__ import annotations

from .._http.transport import Transport, shared_transport
from .._prompts import expect, expect_signal
from .._turn.stream import AssistantMessageEventStream
from .._turn.worker import start_call
from .._types.options import StreamOptions
from .._types.request import Context, Model


def stream_pi_native(
    model: Model, context: Context, options: StreamOptions | None = None
) -> AssistantMessageEventStream:
    """Send one turn to the gateway at `model.base_url` and return its stream at once.

    Raises `TypeError` only: every other failure, a bad configuration included, comes out of the
    stream. One daemon thread does the HTTP. Without a `session` in the options, calls share one
    pool of connections per process.

        >>> model = Model("claude-sonnet-4-5", "anthropic", base_url=gateway.url)
        >>> context = Context([UserMessage("Why is the sky blue?")], system_prompt=["Be brief."])
        >>> stream = stream_pi_native(model, context, StreamOptions(api_key=gateway.api_key))
        >>> stream.result(timeout=60).stop_reason
        'stop'
    """
    expect(model, Model, "model")
    expect(context, Context, "context")
    options = StreamOptions() if options is None else options
    expect(options, StreamOptions, "options")
    expect_signal(options.signal)
    transport = shared_transport() if options.session is None else Transport(options.session)
    return start_call(model, context, options, transport)
