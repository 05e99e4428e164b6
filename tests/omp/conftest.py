"""Fixtures of the real command line omp; without an installation the tests are skipped.

`nox -s omp` installs it, and names its folder in PI_NATIVE_OMP.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from pi_native import Client

from .installation import Omp
from .provider import Provider

GATEWAY = "http://127.0.0.1:4000"  # the default of the gateway and of the client
_BINARIES = Path("node_modules", "@oven", "bun-linux-x64")


class Installed:
    """The provider, the broker and the gateway that run, as a user has them."""

    def __init__(self, omp: Omp, provider: Provider, broker: str) -> None:
        self.omp = omp
        self.provider = provider
        self._broker = broker

    def gateway(self) -> AbstractContextManager[None]:
        """Return a gateway that runs during a block."""
        return self.omp.serving(
            *("auth-gateway", "serve", "--bind=127.0.0.1:4000"),
            url=GATEWAY,
            OMP_AUTH_BROKER_URL=self._broker,
            ANTHROPIC_BASE_URL=self.provider.url,
        )


@pytest.fixture(scope="session")
def installation() -> Path:
    """Return the folder of the installation."""
    named = os.environ.get("PI_NATIVE_OMP")
    if not named:
        pytest.skip("PI_NATIVE_OMP names no installation of omp: run `nox -s omp`")
    if not Path(named, _BINARIES).is_dir():
        pytest.fail(f"{named} holds no installation of omp")
    return Path(named)


@pytest.fixture(scope="session")
def installed(installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Run the provider, and the broker with a credential for it."""
    omp = Omp(installation, tmp_path_factory.mktemp("home"), {})
    broker = f"http://127.0.0.1:{_free_port()}"
    bind = broker.removeprefix("http://")
    with Provider() as provider, omp.serving("auth-broker", "serve", f"--bind={bind}", url=broker):
        token = (omp.home / ".omp" / "auth-broker.token").read_text().strip()
        credential = {"type": "api_key", "key": "fake"}
        requests.post(
            f"{broker}/v1/credential",
            json={"provider": "anthropic", "credential": credential},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        ).raise_for_status()
        yield Installed(omp, provider, broker)


@pytest.fixture(scope="module")
def running(installed: Installed) -> Iterator[Installed]:
    """Run the gateway, on its default address, for the tests of a module."""
    with installed.gateway():
        yield installed


@pytest.fixture
def provider(installed: Installed) -> Provider:
    """Return the provider, with an empty record."""
    installed.provider.forget()
    return installed.provider


@pytest.fixture(autouse=True)
def home(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this process omp's home directory, and no variable of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("PI_", "OMP_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(installed.omp.home))
    return installed.omp.home


@pytest.fixture
def client() -> Iterator[Client]:
    """Return a client that was given nothing."""
    with Client() as client:
        yield client


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
