"""A Flask application that answers prompts, at once or as a stream."""

from flask import Flask, Response, jsonify, request

from pi_native import Client, PiNativeError

app = Flask(__name__)
client = Client(total_timeout=120)
model = "anthropic/claude-sonnet-4-5"


@app.post("/ask")
def ask():
    message = client.complete(model, request.json["prompt"])
    return jsonify(text=message.text, message=message.to_dict())


@app.post("/stream")
def stream():
    turn = client.stream(model, request.json["prompt"])
    headers = {"X-Accel-Buffering": "no"}  # nginx sends each event at once
    events = turn.sse(heartbeat=1)
    return Response(events, headers=headers, mimetype="text/event-stream")


@app.errorhandler(PiNativeError)
def failed(exc):
    return jsonify(error=type(exc).__name__), 502
