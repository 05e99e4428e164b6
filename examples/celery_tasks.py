"""A Celery task that asks a model, and is retried when that can help."""

from celery import Celery

from pi_native import Client, PiNativeError

app = Celery("reports", broker="redis://localhost", backend="redis://localhost")
client = Client(total_timeout=300, max_retries=0)  # the queue retries
model = "anthropic/claude-sonnet-4-5"


@app.task(bind=True, max_retries=3)
def summarise(self, text):
    try:
        message = client.complete(model, text)
    except PiNativeError as exc:
        if not getattr(exc, "retryable", False):
            raise
        delay = getattr(exc, "retry_after", None) or 30
        raise self.retry(exc=exc, countdown=delay) from exc
    return message.to_dict()
