"""A kernel without the settings of the machine, and a gateway for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pi_native.testing import FakeGateway

if TYPE_CHECKING:
    from .kernel import Kernel

JUPYTER = {
    "JUPYTER_PLATFORM_DIRS": "1",  # without it jupyter_core warns of a future default
    "JUPYTER_NO_CONFIG": "1",
    "JUPYTER_ALLOW_INSECURE_WRITES": "1",
}
FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return an environment in which the folders of Jupyter are new."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in [*filter(_is_personal, os.environ)]:
            patch.delenv(name)
        for name, value in JUPYTER.items():
            patch.setenv(name, value)
        for name in FOLDERS:
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("HOME", str(home))
        with _event_loop():
            yield dict(os.environ)


@contextlib.contextmanager
def _event_loop() -> Iterator[None]:
    """Create the event loop that nbclient keeps for its thread, and close it at the end."""
    from jupyter_core.utils import ensure_event_loop

    with contextlib.closing(ensure_event_loop()):
        yield
    asyncio.set_event_loop(None)


def _is_personal(name: str) -> bool:
    return name.startswith(("PI_", "JUPYTER", "IPYTHON")) or name.lower().endswith("_proxy")


@pytest.fixture(scope="module")
def kernel(jupyter: dict[str, str]) -> Iterator[Kernel]:
    """Start a kernel."""
    from .kernel import running_kernel

    with running_kernel(jupyter) as running:
        yield running


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway for one test."""
    with FakeGateway() as fake:
        yield fake


@pytest.fixture
def example() -> Path:
    """Return the path of the notebook in `examples`."""
    return Path(__file__).parent.parent.parent / "examples" / "notebook.ipynb"
