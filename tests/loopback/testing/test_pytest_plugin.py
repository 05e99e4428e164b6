"""The pytest fixtures, in test runs of their own."""

from __future__ import annotations

import doctest
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pi_native_pytest

USES_IT = """
import pytest
from pi_native import Client

@pytest.mark.parametrize("name", ["first", "second"])
def test_it(pi_native_gateway, name):
    pi_native_gateway.reply(name)
    with Client(pi_native_gateway.url, pi_native_gateway.api_key) as client:
        assert client.complete("any/model", "Hi").text == name
    assert len(pi_native_gateway.requests) == 1
"""
USES_THE_ENVIRONMENT = """
import pytest
from pi_native import Client, GatewayServerError

def test_it(pi_native_env):
    pi_native_env.error(503).reply("again")
    with Client() as client:
        with pytest.raises(GatewayServerError):
            client.complete("any/model", "Hi")
    with Client(max_retries=1) as client:
        assert client.complete("any/model", "Hi").text == "again"

def test_the_next_one(monkeypatch):
    assert Client.__init__.__kwdefaults__["max_retries"] == 2
    assert "PI_NATIVE_BASE_URL" not in __import__("os").environ
"""
STRICT = """
from pi_native import Client

def test_an_answer_is_left(pi_native_gateway):
    pi_native_gateway.strict = True
    pi_native_gateway.reply("never asked")
"""
DOES_NOT_USE_IT = """
import sys

def test_it():
    assert "pi_native_pytest" in sys.modules
    assert not {"pi_native", "requests", "attr"} & set(sys.modules)
"""


def run(directory: Path, source: str, *options: str, fails_with: str | None = None) -> None:
    """Run a test file in a pytest that loads only the named plugins, and check its result."""
    (directory / "test_it.py").write_text(source)
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", plugin()]
    done = subprocess.run(
        [*command, *options, str(directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if fails_with else 0), done.stdout + done.stderr
    assert (fails_with or "") in done.stdout


def plugin() -> str:
    """Return the module that pytest loads where the package is installed."""
    [entry] = importlib.metadata.entry_points(group="pytest11", name="pi_native")
    return entry.value


@pytest.mark.slow
def test_each_test_has_a_started_gateway_of_its_own(tmp_path: Path) -> None:
    """The fixture works in a run without other plugins."""
    run(tmp_path, USES_IT)


@pytest.mark.slow
def test_the_environment_names_the_gateway(tmp_path: Path) -> None:
    """`Client()` asks the gateway and does not retry, and the next test sees nothing of it."""
    run(tmp_path, USES_THE_ENVIRONMENT)


@pytest.mark.slow
def test_a_strict_gateway_fails_the_test_at_its_end(tmp_path: Path) -> None:
    """An answer that is left is an error of the teardown, which names it."""
    run(tmp_path, STRICT, fails_with="1 answers were not asked for")


@pytest.mark.slow
@pytest.mark.parametrize("name", pi_native_pytest.__all__)
def test_the_example_in_its_docstring_passes(tmp_path: Path, name: str) -> None:
    """The example is a test file."""
    fixture = getattr(pi_native_pytest, name)
    example = doctest.script_from_examples(str(fixture.__doc__))
    assert "def test_" in example
    run(tmp_path, example)


@pytest.mark.slow
def test_it_works_where_tests_run_in_several_processes(tmp_path: Path) -> None:
    """The fixture works with pytest-xdist."""
    pytest.importorskip("xdist")
    run(tmp_path, USES_IT, "-p", "xdist", "-n", "2")


@pytest.mark.slow
def test_a_project_that_does_not_use_it_does_not_import_the_package(tmp_path: Path) -> None:
    """Loading the plugin imports neither the package nor its dependencies."""
    run(tmp_path, DOES_NOT_USE_IT)
