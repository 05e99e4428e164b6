"""A Django site in one file that answers prompts, at once or as a stream."""

import json
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from pi_native import Client, PiNativeError

client = Client(total_timeout=120)
model = "anthropic/claude-sonnet-4-5"


@require_POST
def ask(request):
    try:
        message = client.complete(model, json.loads(request.body)["prompt"])
    except PiNativeError as exc:
        return JsonResponse({"error": type(exc).__name__}, status=502)
    return JsonResponse({"text": message.text, "message": message.to_dict()})


@require_POST
def stream(request):
    turn = client.stream(model, json.loads(request.body)["prompt"])
    events = turn.sse(heartbeat=1)
    headers = {"X-Accel-Buffering": "no"}  # nginx sends each event at once
    kind = "text/event-stream"
    return StreamingHttpResponse(events, headers=headers, content_type=kind)


urlpatterns = [path("ask", ask), path("stream", stream)]

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY"),
)
application = get_wsgi_application()
