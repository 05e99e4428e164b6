"""The pytest fixture, in test runs of its own."""

from __future__ import annotations

import doctest
import importlib.metadata
import inspect
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
DOES_NOT_USE_IT = """
import sys

def test_it():
    assert "pi_native_pytest" in sys.modules
    assert not {"pi_native", "requests", "attr"} & set(sys.modules)
"""


def run(directory: Path, source: str, *options: str) -> None:
    """Have a test file pass in a pytest that loads no plugin but the named ones."""
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
    assert done.returncode == 0, done.stdout + done.stderr


def plugin() -> str:
    """The module that pytest loads by itself, wherever the package is installed."""
    [entry] = importlib.metadata.entry_points(group="pytest11", name="pi_native")
    return entry.value


@pytest.mark.slow
def test_each_test_has_a_started_gateway_of_its_own(tmp_path: Path) -> None:
    """The fixture works in a run that knows nothing else."""
    run(tmp_path, USES_IT)


@pytest.mark.slow
def test_the_example_in_its_docstring_passes(tmp_path: Path) -> None:
    """It is a test file as it stands there."""
    example = doctest.script_from_examples(str(pi_native_pytest.pi_native_gateway.__doc__))
    assert "def test_" in example
    assert "\n    >>> def test_" in str(inspect.getdoc(pi_native_pytest.pi_native_gateway))
    run(tmp_path, example)


@pytest.mark.slow
def test_it_works_where_tests_run_in_several_processes(tmp_path: Path) -> None:
    """So it does with pytest-xdist, which some projects have."""
    pytest.importorskip("xdist")
    run(tmp_path, USES_IT, "-p", "xdist", "-n", "2")


@pytest.mark.slow
def test_a_project_that_does_not_use_it_does_not_import_the_package(tmp_path: Path) -> None:
    """Loading the plugin loads neither the package nor what that needs."""
    run(tmp_path, DOES_NOT_USE_IT)
