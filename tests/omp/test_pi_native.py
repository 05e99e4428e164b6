"""The command line `pi-native` beside the real gateway, without any setting."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .conftest import GATEWAY, Installed

pytestmark = [pytest.mark.omp, pytest.mark.usefixtures("running")]

MODEL = "anthropic/claude-sonnet-4-5"


def pi_native(
    installed: Installed, *arguments: str, stdin: str = "", code: int = 0, **variables: str
) -> str:
    """Run the command line in omp's environment, check its exit code, and return its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "pi_native", *arguments],
        env={**installed.omp.environment, "COLUMNS": "100", **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr if code else done.stdout


def test_doctor(installed: Installed) -> None:
    """`doctor` finds the gateway, its token and a model, and exits with 0."""
    report = json.loads(pi_native(installed, "doctor", "-m", MODEL, "--json"))
    assert report["ok"]
    text = pi_native(installed, "doctor", "-m", MODEL)
    assert GATEWAY in text
    assert "~/.omp/auth-gateway.token" in text
    assert "18.3.4" in text


def test_doctor_with_a_wrong_model(installed: Installed) -> None:
    """`doctor` says that the gateway does not know the model, and exits with 1."""
    assert "anthropic/retired" in pi_native(installed, "doctor", "-m", "anthropic/retired", code=1)


def test_health_and_models(installed: Installed) -> None:
    """`health` shows the version, `models` the models of the provider with a credential."""
    assert "18.3.4" in pi_native(installed, "health")
    assert MODEL in pi_native(installed, "models", "sonnet")


def test_ask(installed: Installed) -> None:
    """`ask` prints the answer; text on stdin follows the prompt."""
    assert pi_native(installed, "ask", "-m", MODEL, "why", "not").strip() == "why not"
    answer = pi_native(installed, "ask", "-m", MODEL, "Review:", stdin="a = 1")
    assert answer.split() == ["Review:", "a", "=", "1"]
    message = json.loads(pi_native(installed, "ask", "-m", MODEL, "--json", "hi"))
    assert (message["stopReason"], message["usage"]["output"]) == ("stop", 7)


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("-m", "anthropic/retired"), {}, "anthropic/retired"),
        (("-m", MODEL), {"PI_NATIVE_API_KEY": "wrong"}, "PI_NATIVE_API_KEY"),
        (("-m", MODEL), {"PI_NATIVE_BASE_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
    ],
)
def test_ask_that_fails(
    installed: Installed, arguments: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    """The exit code is 1, and the error names what is wrong, without a traceback."""
    text = pi_native(installed, "ask", *arguments, "hi", code=1, **variables)
    assert words in text
    assert "Traceback" not in text
