"""Resuming a batch from its save file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pi_native import Client, ConfigurationError, UserMessage
from pi_native.testing import FakeGateway, HTTPError, RecordedRequest, Reply

from ...conftest import wait_until
from ..calls import KEY

MODEL = "acme/parrot"
PROMPTS = [f"p{number}" for number in range(20)]


def echo(request: RecordedRequest) -> Reply:
    """Answer with the prompt."""
    return Reply(f"re: {request.last_user_text}")


@pytest.fixture
def save(gateway: FakeGateway, tmp_path: Path) -> Path:
    """Return a save file that does not exist yet; the gateway answers with the prompt."""
    gateway.default = echo
    return tmp_path / "save.jsonl"


def test_a_finished_batch_costs_nothing_again(
    client: Client, gateway: FakeGateway, save: Path
) -> None:
    """The second run reads all answers from the file: no request, no cost, the same results."""
    first = client.map(MODEL, PROMPTS, save=save).results()
    again = client.map(MODEL, PROMPTS, save=save, budget=0.0)
    results = again.results()
    assert [r.value for r in results] == [r.value for r in first]
    assert all(r.reused and r.attempts == 0 for r in results)
    assert again.cost.total == 0
    assert again.usage.total_tokens == 0
    assert again.progress.reused == again.progress.done == 20
    assert len(gateway.requests) == 20


def test_only_what_is_missing_is_sent(client: Client, gateway: FakeGateway, save: Path) -> None:
    """New prompts among old ones are sent, at any place, and as a text or as a message."""
    client.map(MODEL, PROMPTS[:10], save=save).results()
    mixed = [UserMessage("new"), *map(UserMessage, PROMPTS[:10]), "newer"]
    results = client.map(MODEL, mixed, save=save).results()
    assert [r.index for r in results if not r.reused] == [0, 11]
    assert len(gateway.requests) == 12


def test_equal_prompts_have_answers_of_their_own(
    client: Client, gateway: FakeGateway, save: Path
) -> None:
    """Three equal prompts are three turns; a fourth is sent by the next run."""
    client.map(MODEL, ["same"] * 3, save=save).results()
    assert len(gateway.requests) == 3
    results = client.map(MODEL, ["same"] * 4, save=save).results()
    assert [r.reused for r in results] == [True, True, True, False]


def test_a_failure_is_tried_again(client: Client, gateway: FakeGateway, save: Path) -> None:
    """A failed prompt is in the file as an error, and is sent by the next run."""
    gateway.default = HTTPError(400, "bad")
    client.map(MODEL, ["a"], save=save, on_error="keep").results()
    assert "error" in json.loads(save.read_text("utf-8"))
    gateway.default = echo
    [result] = client.map(MODEL, ["a"], save=save)
    assert (result.value, result.reused) == ("re: a", False)


def test_turns_that_ran_when_the_batch_failed_are_saved(
    client: Client, gateway: FakeGateway, save: Path
) -> None:
    """The answers behind the first failure are paid for, so the next run has them."""
    gateway.default = lambda request: (
        HTTPError(400, "bad") if request.last_user_text == "p0" else echo(request)
    )
    with pytest.raises(Exception, match="bad"):
        client.map(MODEL, PROMPTS, save=save, concurrency=4).results()
    answered = len(gateway.requests) - 1
    gateway.default = echo
    results = client.map(MODEL, PROMPTS, save=save).results()
    assert sum(r.reused for r in results) == answered
    assert len(gateway.requests) == 21


@pytest.mark.parametrize(
    "other", [{"model": "acme/other"}, {"system": "Be brief."}, {"temperature": 0.5}], ids=str
)
def test_a_file_of_other_arguments_is_refused_before_any_turn(
    client: Client, gateway: FakeGateway, save: Path, other: dict[str, object]
) -> None:
    """Another model, system prompt or option would silently pay for everything again."""
    client.map(MODEL, PROMPTS, save=save).results()
    with pytest.raises(ConfigurationError, match="other arguments"):
        client.map(**{"model": MODEL, "prompts": PROMPTS, "save": save, **other})  # type: ignore[arg-type]
    assert len(gateway.requests) == 20


def test_other_limits_of_this_side_do_not_matter(
    client: Client, gateway: FakeGateway, save: Path
) -> None:
    """Concurrency, retries and timeouts may differ between runs."""
    client.map(MODEL, PROMPTS, save=save).results()
    client.map(MODEL, PROMPTS, save=save, concurrency=2, retries=1, total_timeout_ms=5e5).results()
    assert len(gateway.requests) == 20


def test_a_file_in_use_is_refused_before_any_turn(
    client: Client, gateway: FakeGateway, save: Path
) -> None:
    """A second batch with the same file gets an error at once; after the first ends it may."""
    with client.map(MODEL, PROMPTS, save=save):
        with pytest.raises(ConfigurationError, match="another batch is writing"):
            client.map(MODEL, PROMPTS, save=save)
        assert gateway.requests == []
    assert len(client.map(MODEL, PROMPTS, save=save).results()) == 20


def test_a_slow_reader_loses_nothing(client: Client, save: Path) -> None:
    """An answer is saved when its turn ends, also while the reader works on an earlier one."""
    batch = client.map(MODEL, PROMPTS, save=save, concurrency=4)
    next(batch)
    assert wait_until(lambda: len(save.read_bytes().splitlines()) >= 4)
    batch.stop()
    batch.results()


KILLED = """
import sys
from pi_native import Client
client = Client(sys.argv[1], sys.argv[3])
prompts = [f"p{n}" for n in range(200)]
for result in client.map("acme/parrot", prompts, save=sys.argv[2], concurrency=8):
    pass
"""


@pytest.mark.slow
def test_three_kills_cost_at_most_the_turns_in_flight(gateway: FakeGateway, save: Path) -> None:
    """Killed three times by SIGKILL at concurrency 8, 200 answers take at most 224 requests."""
    command = [sys.executable, "-c", KILLED, gateway.url, str(save), KEY]
    for limit in (40, 90, 150):
        process = subprocess.Popen(command)
        assert wait_until(lambda limit=limit: len(gateway.requests) >= limit, 60)
        process.kill()
        process.wait()
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert len(gateway.requests) <= 224
    answered = {json.loads(line)["key"] for line in save.read_text("utf-8").splitlines()}
    assert len(answered) == 200
