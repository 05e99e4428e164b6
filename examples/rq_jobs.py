"""A job for RQ that asks a model, and is retried when that can help."""

from rq import Retry

from pi_native import Client, PiNativeError

client = Client(total_timeout=300, max_retries=0)  # the queue retries
model = "anthropic/claude-sonnet-4-5"


def summarise(text):
    try:
        return client.complete(model, text)
    except PiNativeError as exc:
        if not getattr(exc, "retryable", False):
            raise
        delay = getattr(exc, "retry_after", None) or 30
        return Retry(max=3, interval=round(delay))
