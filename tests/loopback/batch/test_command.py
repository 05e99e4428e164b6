"""`pi-native batch`: prompts from a file, answers to another, resumed by the same command."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pi_native.__main__ import main
from pi_native.testing import FakeGateway, HTTPError, RecordedRequest, Reply, Stall

from ...conftest import wait_until

MODEL = "acme/parrot"


@pytest.fixture(autouse=True)
def echoing(gateway: FakeGateway, named: Callable[..., FakeGateway]) -> None:
    """Name a gateway in the environment that answers each turn with its prompt."""
    named(gateway, MODEL)
    gateway.default = lambda request: Reply(f"re: {request.last_user_text}")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Return a file of five prompts of every form."""
    path = tmp_path / "prompts.jsonl"
    lines = [
        "p0",
        {"prompt": "p1"},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "p2"},
            ]
        },
        "p3",
    ]
    text = "\ufeff" + "\n".join(json.dumps(line) for line in lines)
    path.write_text(text + '\n\n  \n"p4"', encoding="utf-8")
    return path


def answers(path: Path) -> dict[int, str]:
    """Return the texts of the answers in an output file, by index."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {
        line["index"]: line["message"]["content"][0]["text"] for line in lines if "message" in line
    }


def test_each_prompt_gets_a_line(
    gateway: FakeGateway, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answers are in the output, a summary is on stderr, and the exit code is 0."""
    output = tmp_path / "out.jsonl"
    assert main(["batch", str(prompts), "-o", str(output), "-s", "Speak."]) == 0
    assert answers(output) == {number: f"re: p{number}" for number in range(5)}
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("pi-native: 5 answered (0 of them before), 0 failed, ")
    assert ", $0.00" in last
    assert {request.model for request in gateway.requests} == {MODEL}
    system = {str(request.json["context"].get("systemPrompt")) for request in gateway.requests}
    assert system == {"['Speak.']"}


def test_the_same_command_resumes(gateway: FakeGateway, prompts: Path, tmp_path: Path) -> None:
    """A second run makes no request."""
    command = ["batch", str(prompts), "-o", str(tmp_path / "out.jsonl")]
    assert [main(command), main(command)] == [0, 0]
    assert len(gateway.requests) == 5


def test_a_schema_makes_each_answer_an_object(
    gateway: FakeGateway, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schema goes out as that of the tool `answer`; a file without one is exit code 2."""
    gateway.default = Reply(tool_calls=[{"name": "answer", "arguments": {"a": 1}}])
    schema, output = tmp_path / "schema.json", tmp_path / "out.jsonl"
    schema.write_text('{"type": "object", "title": "Mine"}', "utf-8")
    command = ["batch", str(prompts), "-o", str(output), "--schema", str(schema)]
    assert main(command) == 0
    tools = gateway.last_request.json["context"]["tools"]
    assert [(tool["name"], tool["parameters"]["title"]) for tool in tools] == [("answer", "Mine")]
    line = json.loads(output.read_text("utf-8").splitlines()[0])
    assert line["message"]["content"][0]["arguments"] == {"a": 1}
    for text in ("[]", "{", '{"type": "string"}'):
        schema.write_text(text, "utf-8")
        assert main(command) == 2
    assert "schema" in capsys.readouterr().err


def test_a_failed_prompt_is_reported_and_tried_again(
    gateway: FakeGateway, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, the others are answered, and the next run sends it again."""
    answer = gateway.default
    gateway.default = lambda request: (
        HTTPError(400, "too rude") if request.last_user_text == "p3" else answer(request)  # type: ignore[operator]
    )
    command = ["batch", str(prompts), "-o", str(tmp_path / "out.jsonl")]
    assert main(command) == 1
    assert "pi-native: prompt 3: too rude" in capsys.readouterr().err
    gateway.default = answer
    assert main(command) == 0
    assert len(answers(tmp_path / "out.jsonl")) == 5
    assert len(gateway.requests) == 6


def test_a_budget_ends_the_batch(
    gateway: FakeGateway, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing starts beyond it; the exit code is 1."""
    usage = {"totalTokens": 10, "cost": {"total": 0.5}}
    gateway.default = Reply("x", usage=usage)
    command = ["batch", str(prompts), "-o", str(tmp_path / "out.jsonl"), "--budget", "1"]
    assert main([*command, "--concurrency", "1"]) == 1
    assert len(gateway.requests) == 2
    assert "the budget is used up; at least 3 prompts are left" in capsys.readouterr().err


def test_a_budget_without_prices_is_one_line(
    gateway: FakeGateway, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning is a line of the program, without a path and without advice for Python code."""
    cost = {"input": 0, "output": 0, "total": 0}
    gateway.default = Reply("x", usage={"totalTokens": 10, "cost": cost})
    assert main(["batch", str(prompts), "-o", str(tmp_path / "out.jsonl"), "--budget", "1"]) == 0
    err = capsys.readouterr().err
    assert err.count("pi-native: the gateway reports no cost for this model") == 1
    assert "UserWarning" not in err
    assert "Budget(" not in err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("bar", [True, False], ids=["tqdm", "line"])
def test_failures_are_lines_above_the_progress(
    gateway: FakeGateway, tmp_path: Path, bar: bool
) -> None:
    """On a terminal each failure has a line of its own, and the summary is the last line."""
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    if bar:
        pytest.importorskip("tqdm")
    else:
        (tmp_path / "tqdm.py").write_text("raise ImportError('no tqdm')\n", "utf-8")
    path = tmp_path / "prompts.jsonl"
    path.write_text('"again"\n' * 12, "utf-8")
    gateway.default = HTTPError(404, "Unknown model")
    command = [sys.executable, "-m", "pi_native", "batch", str(path), "--concurrency", "1"]
    environ = {**os.environ, "COLUMNS": "80"} | ({} if bar else {"PYTHONPATH": str(tmp_path)})
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "out.jsonl")], stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        lines = screen(read_all(ours))
        assert process.wait(60) == 1
    failures = [line for line in lines if "prompt " in line and "Unknown model" in line]
    assert len(failures) == 10
    assert all(line.startswith("pi-native: prompt ") for line in failures)
    assert all(line.rstrip().endswith("(HTTP 404)") for line in failures)
    assert [line for line in lines if line.strip()][-1].startswith("pi-native: 0 answered")


def read_all(descriptor: int) -> str:
    """Return what a process writes to its terminal until it ends."""
    data = b""
    with os.fdopen(descriptor, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                data += piece
        except OSError:  # Linux reports the end of a terminal so
            pass
    return data.decode()


def screen(text: str) -> list[str]:
    """Return the lines of a terminal after text with carriage returns and cursor movements."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", text):
        if piece == "\n":
            row += 1
            lines.extend([""] * (row + 1 - len(lines)))
        elif piece == "\x1b[A":
            row -= 1
        elif piece == "\r":
            column = 0
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + piece + line[column + len(piece) :]
            column += len(piece)
    return lines


@pytest.mark.parametrize(
    ("answer", "requests"),
    [(HTTPError(401, "no"), 1), (HTTPError(404, "Unknown model"), 10)],
    ids=["key", "model"],
)
def test_when_every_prompt_fails_the_batch_ends(
    gateway: FakeGateway, tmp_path: Path, answer: HTTPError, requests: int
) -> None:
    """A wrong key or model does not send every prompt of a long file."""
    gateway.default = answer
    path = tmp_path / "prompts.jsonl"
    path.write_text('"again"\n' * 500, "utf-8")
    command = ["batch", str(path), "-o", str(tmp_path / "out.jsonl"), "--concurrency", "1"]
    assert main(command) == 1
    assert requests <= len(gateway.requests) <= requests + 1


BAD_LINES = {
    "5": "expected a JSON string",
    "{}": "expected a JSON string",
    "nonsense": "Expecting value",
    '{"prompt": 5}': "expected a JSON string",
    '{"messages": []}': "at least one message of the user",
    '{"messages": [{"role": "tool", "content": "x"}]}': "messages[0].tool_call_id: expected",
    '{"messages": [{"role": "user", "content": [{"type": "x"}]}]}': "content[0].type: expected",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_before_any_turn(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """The exit code is 2, the file and the line are named, and nothing is sent."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'"fine"\n{line}\n', "utf-8")
    assert main(["batch", str(path), "-o", str(tmp_path / "out.jsonl")]) == 2
    err = capsys.readouterr().err
    assert "prompts.jsonl, line 2: " in err
    assert BAD_LINES[line] in err
    assert gateway.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.jsonl", "-o", "out.jsonl"],
        ["prompts.jsonl", "-o", "no/folder/out.jsonl"],
        ["prompts.jsonl", "-o", "prompts.jsonl"],
        ["prompts.jsonl"],
        ["prompts.jsonl", "-o", "out.jsonl", "--concurrency", "0"],
        ["prompts.jsonl", "-o", "out.jsonl", "--budget", "much"],
        ["prompts.jsonl", "-o", "out.jsonl", "-m", "/"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(
    gateway: FakeGateway,
    prompts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """Nothing is sent, and stderr has a line without a traceback."""
    monkeypatch.chdir(prompts.parent)
    assert main(["batch", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.strip()
    assert "Traceback" not in err
    assert gateway.requests == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to another process")
def test_ctrl_c_keeps_what_was_answered(gateway: FakeGateway, tmp_path: Path) -> None:
    """The exit code is 130, there is no traceback, and the same command sends what is missing."""
    path, output = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(f'"p{number}"\n' for number in range(50)), "utf-8")

    def answer(request: RecordedRequest) -> Reply:
        fault = () if request.last_user_text in ("p0", "p1") else Stall(after=1)
        return Reply("x", fault=fault)

    gateway.default = answer
    command = [sys.executable, "-m", "pi_native", "batch", str(path), "-o", str(output)]
    process = subprocess.Popen([*command, "--concurrency", "4"], stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(gateway.requests) >= 6, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "2 answered" in err
    assert len(answers(output)) == 2
    gateway.default = Reply("later")
    before = len(gateway.requests)
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60).returncode == 0
    assert len(answers(output)) == 50
    assert len(gateway.requests) - before == 48


# Not ru_maxrss: on Linux it begins with the memory of the process that started this one.
MEASURED = """
import sys
from pathlib import Path
from pi_native.__main__ import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text("ascii")
print(code, status.partition("VmHWM:")[2].split()[0])
"""


def _peak_memory(folder: Path, count: int) -> float:
    """Run a batch of `count` prompts of 10 KB, and return its highest resident memory in MB."""
    path, output = folder / f"prompts-{count}.jsonl", folder / f"out-{count}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(f"{number} {'x' * 10_000}") + "\n" for number in range(count))
    command = [sys.executable, "-c", MEASURED, "batch", str(path), "-o", str(output)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    code, peak = ended.stdout.split()
    assert code == "0", ended.stderr
    with output.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) >= count
    return int(peak) / 1024


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_number_of_prompts(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    """2,000 more prompts of 10 KB, which are 20 MB, need less than 8 MB more memory."""
    gateway.default = Reply("fine")
    small = _peak_memory(tmp_path, 200)
    large = _peak_memory(tmp_path, 2_200)
    assert large - small < 8, (small, large)
