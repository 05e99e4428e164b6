"""The notebook of `examples` runs from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ipykernel", reason="needs a Jupyter kernel: the extra [test] has one")
pytest.importorskip("nbclient", reason="needs nbclient, which is in the extra [test]")

import nbformat
from nbclient import NotebookClient

from pi_native.testing import FakeGateway

from .kernel import LIMIT, html_of, printed_by

pytestmark = pytest.mark.slow  # starts a kernel


def test_it_runs_with_the_gateway_that_it_brings(example: Path, jupyter: dict[str, str]) -> None:
    """Every cell runs, and each stream and message is shown."""
    notebook = nbformat.read(example, as_version=4)
    NotebookClient(notebook, timeout=LIMIT).execute(env=jupyter)
    stream, several, message = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    [answer] = html_of(stream)
    assert "<strong>blue</strong>" in answer
    assert "<summary>Thinking</summary>" in answer
    assert "<code>clock</code>" in answer
    assert "tokens in" in answer
    assert len(html_of(several)) == 2
    assert "tokens" in printed_by(several)
    assert html_of(message) == [html_of(several)[0]]


def test_it_asks_the_gateway_of_the_environment(
    example: Path, jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """With a gateway in the environment the notebook uses it."""
    notebook = nbformat.read(example, as_version=4)
    environment = {**jupyter, "PI_NATIVE_BASE_URL": gateway.url, "PI_NATIVE_API_KEY": "test-key"}
    NotebookClient(notebook, timeout=LIMIT).execute(env=environment)
    assert len(gateway.requests) == 3


def test_it_ships_without_outputs(example: Path) -> None:
    """The notebook in the repository has no outputs and no execution counts."""
    notebook = nbformat.read(example, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
