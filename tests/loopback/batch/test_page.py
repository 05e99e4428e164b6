"""The page about more than one machine, run in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from pi_native.testing import FakeGateway

from ..docs.test_docs import DOCS, check_output, examples_of, reply

PAGE = DOCS / "more-than-one-machine.md"


@pytest.mark.slow
def test_the_page_runs_and_prints_the_output_that_is_shown(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks for processes and for Dask run one after the other; each prints its answers."""
    gateway.default = reply
    monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
    monkeypatch.setenv("PI_NATIVE_API_KEY", str(gateway.api_key))
    examples = [e for e in examples_of(PAGE) if not e.needs or importlib.util.find_spec(e.needs)]
    program = "\nprint('-----')\n".join(example.source for example in examples)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("-----\n")
    assert len(printed) == len(examples)
    for example, text in zip(examples, printed, strict=True):
        check_output(example, text, PAGE.name)
