"""The variables that move the files of omp move them for the client, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_native import Client
from pi_native.testing import FakeGateway

from .conftest import GATEWAY, Installed

pytestmark = pytest.mark.omp

MODEL = "anthropic/claude-sonnet-4-5"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OMP_PROFILE": "work"},
        {"PI_PROFILE": "play"},
        {"OMP_PROFILE": "default", "PI_PROFILE": "ignored"},
        {"PI_CONFIG_DIR": ".elsewhere"},
        {"PI_CONFIG_DIR": ".elsewhere", "OMP_PROFILE": "work"},
    ],
    ids=str,
)
def test_the_token_file_is_where_omp_writes_it(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """The client sends the token that `omp auth-gateway token` prints with the same variables."""
    token = installed.omp.run("auth-gateway", "token", **variables).split()[-1]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with FakeGateway(token) as gateway, Client(gateway.url) as client:
        assert client.complete("x/y", "hi").text


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("moved", [False, True])
def test_models_yml(home: Path, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    """`Client.from_models_yml()` reads the gateway and the name of the key's variable."""
    folder = home / "moved" if moved else home / ".omp" / "agent"
    folder.mkdir(parents=True, exist_ok=True)
    if moved:
        monkeypatch.setenv("PI_CODING_AGENT_DIR", str(folder))
    entry = f"{{baseUrl: '{GATEWAY}', apiKey: MY_GATEWAY_TOKEN, transport: pi-native}}"
    file = folder / "models.yml"
    file.write_text(f"providers:\n  anthropic: {entry}\n  openai: {entry}\n")
    token = (home / ".omp" / "auth-gateway.token").read_text().strip()
    monkeypatch.setenv("MY_GATEWAY_TOKEN", token)
    try:
        with Client.from_models_yml() as client:
            assert client.complete(MODEL, "hi").text.strip() == "hi"
    finally:
        file.unlink()
