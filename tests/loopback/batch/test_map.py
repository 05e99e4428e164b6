"""`Client.map` and `Client.map_tasks` in threads: results, order, failures, budget, progress."""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_native import (
    AuthenticationError,
    BatchResult,
    Budget,
    BudgetError,
    Client,
    ConfigurationError,
    Context,
    InvalidRequestError,
    Progress,
    RateLimitError,
    UserMessage,
)
from pi_native.testing import FakeGateway, HTTPError, RecordedRequest, Reply

MODEL = "acme/parrot"


def echo(request: RecordedRequest) -> Reply:
    """Answer with the prompt."""
    return Reply(f"re: {request.last_user_text}")


@pytest.fixture(autouse=True)
def echoing(gateway: FakeGateway) -> None:
    """Let the gateway answer each turn with its prompt."""
    gateway.default = echo


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses before a retry are short; their lengths have tests of their own."""
    monkeypatch.setattr("pi_native._batch.rules.driver._BASE_SECONDS", 0.01)


def prompts(count: int) -> list[str]:
    """Return so many prompts."""
    return [f"p{number}" for number in range(count)]


def test_results_come_in_the_order_of_the_prompts(client: Client) -> None:
    """Each result has its index, prompt, text, message, number of requests and time."""
    batch = client.map(MODEL, prompts(40), concurrency=8)
    results = list(batch)
    assert [(r.index, r.prompt, r.value) for r in results] == [
        (number, f"p{number}", f"re: p{number}") for number in range(40)
    ]
    assert all(r.message is not None and r.message.text == r.value for r in results)
    assert all(r.attempts == 1 and r.seconds > 0 and r.error is None for r in results)
    assert not any(r.reused for r in results)


def test_without_order_results_come_as_they_are_finished(
    client: Client, gateway: FakeGateway
) -> None:
    """A prompt whose answer is late does not hold back the others."""
    late = threading.Event()

    def answer(request: RecordedRequest) -> Reply:
        if request.last_user_text == "p0":
            late.wait(30)
        return echo(request)

    gateway.default = answer
    seen = []
    for result in client.map(MODEL, prompts(6), ordered=False, concurrency=2):
        seen.append(result.index)
        if len(seen) == 5:
            late.set()
    assert seen[-1] == 0
    assert sorted(seen) == list(range(6))


def test_prompts_are_read_lazily(client: Client, gateway: FakeGateway) -> None:
    """A generator is read at most four times the concurrency ahead of the oldest open prompt."""
    late, read = threading.Event(), []

    def answer(request: RecordedRequest) -> Reply:
        if request.last_user_text == "p0":
            late.wait(30)
        return echo(request)

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            if number == 7:
                late.set()
            yield f"p{number}"

    gateway.default = answer
    with client.map(MODEL, endless(), concurrency=2) as batch:
        assert next(batch).index == 0
        assert batch.progress.total is None
    assert 8 <= len(read) <= 9


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_concurrency_is_a_limit(client: Client, gateway: FakeGateway, concurrency: int) -> None:
    """Never more turns are in flight than the caller allows."""
    lock, running, most = threading.Lock(), 0, 0

    def answer(request: RecordedRequest) -> Reply:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        reply = echo(request)
        with lock:
            running -= 1
        return reply

    gateway.default = answer
    assert len(client.map(MODEL, prompts(30), concurrency=concurrency).results()) == 30
    assert most <= concurrency


def test_every_kind_of_prompt_is_taken(client: Client, gateway: FakeGateway) -> None:
    """Texts, messages, sequences and contexts go out with the shared system prompt and options."""
    mixed = ["a", UserMessage("b"), [UserMessage("c")], Context([UserMessage("d")])]
    values = [r.value for r in client.map(MODEL, mixed, system="Be brief.", max_tokens=9)]
    assert values == ["re: a", "re: b", "re: c", "re: d"]
    for request in gateway.requests:
        assert request.json["context"]["systemPrompt"] == ["Be brief."]
        assert request.json["options"]["maxTokens"] == 9


def test_refused_turns_are_sent_again_and_do_not_use_up_retries(
    client: Client, gateway: FakeGateway
) -> None:
    """With `retries=0` a refused prompt is answered all the same; `attempts` counts the refusal."""
    refused = set()

    def answer(request: RecordedRequest) -> Reply | HTTPError:
        text = str(request.last_user_text)
        if text in ("p1", "p3") and text not in refused:
            refused.add(text)
            return HTTPError(429, headers={"Retry-After": "0.05"})
        return echo(request)

    gateway.default = answer
    results = client.map(MODEL, prompts(6), retries=0).results()
    assert [r.value for r in results] == [f"re: p{n}" for n in range(6)]
    assert [r.attempts for r in results] == [1, 2, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "failure",
    [
        HTTPError(503),
        Reply(error_message="overloaded", error_status=529),
    ],
    ids=["http", "event"],
)
@pytest.mark.usefixtures("quick_pauses")
def test_a_passing_failure_is_retried(
    client: Client, gateway: FakeGateway, failure: HTTPError | Reply
) -> None:
    """A turn that fails once for a passing reason is sent once more."""
    gateway.add(failure)
    results = client.map(MODEL, prompts(3), concurrency=1).results()
    assert [r.attempts for r in results] == [2, 1, 1]
    assert len(gateway.requests) == 4


@pytest.mark.usefixtures("quick_pauses")
def test_an_error_event_is_retried_once(client: Client, gateway: FakeGateway) -> None:
    """The gateway itself has tried ten times before it sends an error event."""
    gateway.default = Reply(error_message="overloaded", error_status=529)
    [result] = client.map(MODEL, ["p"], on_error="keep", retries=9)
    assert result.attempts == 2


def test_refusals_of_the_provider_are_refusals(client: Client, gateway: FakeGateway) -> None:
    """An error event with status 429 is put back after the time in its message."""
    gateway.reply(error_message="slow down retry-after-ms=20", error_status=429)
    [result] = client.map(MODEL, ["p"], retries=0)
    assert result.value == "re: p"
    assert result.attempts == 2


def test_the_first_failure_ends_the_batch(client: Client, gateway: FakeGateway) -> None:
    """Results before it come in order, then its error; turns that ran are saved."""
    gateway.default = lambda request: (
        HTTPError(400, "bad prompt") if request.last_user_text == "p5" else echo(request)
    )
    batch = client.map(MODEL, prompts(1000), concurrency=4)
    seen: list[BatchResult[str]] = []
    with pytest.raises(InvalidRequestError, match="bad prompt"):
        seen.extend(iter(batch.__next__, None))
    assert [r.index for r in seen] == [0, 1, 2, 3, 4]
    assert len(gateway.requests) <= 5 + 2 * 4
    assert list(batch) == []


def test_failures_can_be_kept_as_results(client: Client, gateway: FakeGateway) -> None:
    """With `on_error="keep"` each failure is a result with an error, in its place."""
    gateway.default = lambda request: (
        HTTPError(400, "bad prompt") if request.last_user_text in ("p1", "p4") else echo(request)
    )
    batch = client.map(MODEL, prompts(6), on_error="keep")
    results = batch.results()
    assert [r.index for r in results if isinstance(r.error, InvalidRequestError)] == [1, 4]
    assert [r.value for r in results if r.error is None] == ["re: p0", "re: p2", "re: p3", "re: p5"]
    assert (batch.progress.done, batch.progress.failed) == (6, 2)


def test_patience_that_is_used_up_raises_the_refusal(client: Client, gateway: FakeGateway) -> None:
    """The answers come first, then the refusal itself, also with `on_error="keep"`."""
    gateway.default = lambda request: (
        echo(request)
        if request.last_user_text == "p0"
        else HTTPError(429, "slow down", headers={"Retry-After": "9"})
    )
    batch = client.map(MODEL, prompts(9), concurrency=1, patience=5, on_error="keep")
    assert next(batch).value == "re: p0"
    with pytest.raises(RateLimitError, match="slow down"):
        next(batch)


def test_a_budget_ends_the_batch_after_its_results(client: Client, gateway: FakeGateway) -> None:
    """No turn starts beyond the budget; the error says what was spent and what is left."""
    gateway.default = Reply("x", usage={"input": 50, "output": 50, "totalTokens": 100})
    batch = client.map(MODEL, prompts(100), budget=Budget(tokens=1000), concurrency=4)
    with pytest.raises(BudgetError, match="90 prompts are left") as caught:
        batch.results()
    assert [r.index for r in caught.value.results] == list(range(10))
    assert caught.value.left == 90
    assert caught.value.spent.tokens == 1000
    assert len(gateway.requests) == 10


def test_a_warning_that_is_an_error_loses_no_result(client: Client, gateway: FakeGateway) -> None:
    """With a filter that raises the warning about prices, the paid answers can still be read."""
    gateway.default = Reply("x", usage={"totalTokens": 10, "cost": {"total": 0}})
    batch = client.map(MODEL, prompts(3), budget=1.0, concurrency=1)
    with pytest.raises(UserWarning, match="reports no cost"):
        next(batch)
    assert [result.index for result in batch] == list(range(len(gateway.requests)))


def test_a_budget_of_an_endless_generator_ends_it(client: Client, gateway: FakeGateway) -> None:
    """The first of two amounts that is used up ends the batch, also without a known total."""
    cost = {"input": 0.5, "output": 0.5, "total": 1.0}
    gateway.default = Reply("x", usage={"totalTokens": 10, "cost": cost})
    for budget in (5.0, Budget(dollars=5.0, tokens=10_000), Budget(dollars=1e6, tokens=50)):
        endless = (f"p{number}" for number in itertools.count())
        with pytest.raises(BudgetError) as caught:
            client.map(MODEL, endless, budget=budget, concurrency=3).results()
        assert len(caught.value.results) == 5
        assert caught.value.spent == Budget(dollars=5.0, tokens=50)


def test_cost_and_usage_are_added_up(client: Client, gateway: FakeGateway) -> None:
    """The batch knows the tokens and the dollars of all its turns, failed ones too."""
    cost = {"input": 0.25, "output": 0.25, "total": 0.5}
    usage = {"input": 7, "output": 3, "totalTokens": 10, "cost": cost}
    gateway.default = lambda request: Reply(
        "x", usage=usage, error_message="no" if request.last_user_text == "p1" else None
    )
    batch = client.map(MODEL, prompts(4), on_error="keep", retries=0)
    batch.results()
    assert (batch.usage.input, batch.usage.output, batch.usage.total_tokens) == (28, 12, 40)
    assert batch.cost.total == batch.progress.cost == 2.0


def test_progress_is_reported_after_each_result(client: Client) -> None:
    """A function gets the counts, which end at the total."""
    states: list[Progress] = []
    client.map(MODEL, prompts(5), progress=states.append, concurrency=2).results()
    assert [state.done for state in states] == [1, 2, 3, 4, 5]
    assert {state.total for state in states} == {5}
    assert states[-1].running == states[-1].waiting == 0
    assert str(states[-1]).startswith("5/5 done, 0 running, $0.0")


def test_tasks_make_turns_of_their_own(client: Client, gateway: FakeGateway) -> None:
    """A task gets a client and an item; its value, requests and cost are counted."""

    def twice(client: Client, word: str) -> int:
        return sum(len(client.complete(MODEL, word).text) for _ in range(2))

    batch = client.map_tasks(twice, ["a", "bb"])
    results = batch.results()
    assert [(r.value, r.attempts, r.message) for r in results] == [(10, 2, None), (12, 2, None)]
    assert len(gateway.requests) == 4
    assert batch.cost.total > 0


def test_a_task_that_is_refused_runs_again(client: Client, gateway: FakeGateway) -> None:
    """A refusal inside a task goes to the driver: the task runs again from its start."""
    gateway.reply("one").error(429, headers={"Retry-After": "0.02"}).reply("two").reply("three")

    def twice(client: Client, _item: int) -> str:
        return "".join(client.complete(MODEL, "hi").text for _ in range(2))

    [result] = client.map_tasks(twice, [1])
    assert result.value == "twothree"
    assert result.attempts == 4


def test_a_task_that_raises_is_a_failure(client: Client) -> None:
    """The error of a task is the result's, or is raised as it is."""

    def divide(_client: Client, item: int) -> float:
        return 1 / item

    results = client.map_tasks(divide, [1, 0, 2], on_error="keep").results()
    assert [r.value for r in results] == [1.0, None, 0.5]
    assert isinstance(results[1].error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        client.map_tasks(divide, [1, 0, 2]).results()


def test_workers_see_the_callers_context_variables(client: Client) -> None:
    """A variable that is set around the call of `map_tasks` is set in its threads."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="unset")
    token = user.set("ada")
    batch = client.map_tasks(lambda _client, _item: user.get(), range(3))
    user.reset(token)
    assert [r.value for r in batch] == ["ada"] * 3


def test_connections_are_shared(client: Client, gateway: FakeGateway) -> None:
    """200 turns at concurrency 4 need about 4 connections."""
    client.map(MODEL, prompts(200), concurrency=4).results()
    assert gateway.connections <= 8


def test_a_key_file_that_changes_is_read_once_more(gateway: FakeGateway, tmp_path: Path) -> None:
    """After a new key, at most the turns in flight are refused, and none of them fails."""
    file = tmp_path / "key"
    file.write_text(str(gateway.api_key), "utf-8")
    with Client(gateway.url, api_key_file=file) as client:
        batch = client.map(MODEL, prompts(30), concurrency=2)
        assert next(batch).value == "re: p0"
        file.write_text("new", "utf-8")  # first: a turn may be refused at once
        gateway.api_key = "new"
        assert len(batch.results()) == 29
    assert len(gateway.requests) <= 30 + 4


def test_a_stopped_clock_does_not_stop_a_batch(
    client: Client, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that freezes the time, as freezegun does, still gets past the time of a hint."""
    gateway.error(429, headers={"Retry-After": "0.1"})
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert client.map(MODEL, ["p"]).results()[0].attempts == 2


BAD_CALLS: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"concurrency": 0}, ConfigurationError, "concurrency must be a whole number, 1 or more"),
    ({"concurrency": 2.5}, ConfigurationError, "concurrency must be"),
    ({"concurrency": True}, ConfigurationError, "concurrency must be"),
    ({"retries": -1}, ConfigurationError, "retries must be"),
    ({"patience": "long"}, ConfigurationError, "patience must be a number of seconds"),
    ({"patience": float("nan")}, ConfigurationError, "patience must be"),
    ({"budget": -1}, ConfigurationError, "budget must be a number of dollars"),
    ({"budget": "5"}, ConfigurationError, "budget must be"),
    ({"budget": Budget()}, ConfigurationError, "budget must be"),
    ({"on_error": "ignore"}, ConfigurationError, 'on_error must be "raise" or "keep"'),
    ({"executor": 4}, TypeError, "executor must be a concurrent.futures.Executor"),
    ({"max_retries": 2}, ConfigurationError, "a batch has retries="),
    ({"temprature": 1}, TypeError, "temprature"),
    ({"metadata": {"x": {1}}}, ConfigurationError, "JSON"),
    ({"idle_timeout": "x"}, Exception, "idle_timeout"),
    ({"prompts": "one text"}, TypeError, "prompts must be an iterable with one entry a turn"),
    ({"prompts": UserMessage("hi")}, TypeError, "not one UserMessage"),
    ({"prompts": 5}, TypeError, "not one int"),
    ({"prompts": ["a", 5]}, TypeError, "prompt 1: a prompt is a string"),
    ({"prompts": ["a", {"role": "user", "content": "b"}]}, TypeError, "prompt 1: "),
    ({"model": ""}, ConfigurationError, "model"),
    ({"signal": 5}, TypeError, "signal must be"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    BAD_CALLS,
    ids=[f"{next(iter(arguments))}-{number}" for number, (arguments, _, _) in enumerate(BAD_CALLS)],
)
def test_a_bad_call_is_refused_before_any_turn(
    client: Client,
    gateway: FakeGateway,
    arguments: dict[str, object],
    error: type[Exception],
    text: str,
) -> None:
    """The call itself raises, and nothing is sent."""
    call = {"model": MODEL, "prompts": ["a"], **arguments}
    with pytest.raises(error, match=text):
        client.map(**call)  # type: ignore[arg-type]
    assert gateway.requests == []


def test_a_bad_prompt_of_a_generator_ends_the_batch_after_its_results(client: Client) -> None:
    """The answers before it are returned; the error names the prompt."""

    def generate() -> Iterator[str]:
        yield from ("a", "b")
        yield 5  # type: ignore[misc]

    batch = client.map(MODEL, generate())
    assert [next(batch).value, next(batch).value] == ["re: a", "re: b"]
    with pytest.raises(TypeError, match="prompt 2: a prompt is a string"):
        next(batch)


def test_a_wrong_key_ends_the_batch(gateway: FakeGateway) -> None:
    """A key that the gateway refuses fails the first turn, and the batch with it."""
    with (
        Client(gateway.url, "wrong") as client,
        pytest.raises(AuthenticationError),
    ):
        client.map(MODEL, prompts(500), concurrency=2).results()
    assert len(gateway.requests) <= 4


def test_nothing_to_do_is_no_error(client: Client, tmp_path: Path) -> None:
    """A batch without prompts has no results."""
    assert client.map(MODEL, [], save=tmp_path / "s.jsonl").results() == []
    assert client.map_tasks(lambda _client, _item: 0, []).results() == []
