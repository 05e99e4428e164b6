"""The files of an omp user: shared gateways, profiles, `.env`, and keys that commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_native import Client, ConfigurationError

GATEWAY = "http://gateway.invalid:4000"


def entry(name: str, *, url: str = GATEWAY, key: str = "TOKEN", more: str = "") -> str:
    """Return a provider of `models.yml`."""
    return f"  {name}: {{baseUrl: '{url}', apiKey: '{key}', transport: pi-native{more}}}\n"


def write(path: Path, *entries: str) -> None:
    """Write a `models.yml` with these providers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeffproviders:\n" + "".join(entries), encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of `models.yml`; the home directory is `tmp_path`."""
    return tmp_path / ".omp" / "agent" / "models.yml"


def key_of(client: Client) -> str:
    """Return the key of a client."""
    return str(client._api_key)


def test_several_providers_behind_one_gateway(file: Path) -> None:
    """Providers with the same address, key and headers are one gateway."""
    write(file, entry("a"), entry("b", url=GATEWAY + "/"), entry("c"))
    client = Client.from_models_yml()
    assert (client.base_url, key_of(client)) == (GATEWAY, "TOKEN")
    assert client.settings[0].origin == f"provider 'a' in {file}"


@pytest.mark.parametrize(
    "other",
    [
        entry("b", url="http://other.invalid"),
        entry("b", key="OTHER"),
        entry("b", more=", headers: {x-team: blue}"),
    ],
    ids=["address", "key", "headers"],
)
def test_several_gateways(file: Path, other: str) -> None:
    """Another address, key or header is another gateway, and the error names both providers."""
    write(file, entry("a"), other)
    with pytest.raises(ConfigurationError, match="say which: 'a', 'b'"):
        Client.from_models_yml()
    assert Client.from_models_yml("a").base_url == GATEWAY


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"OMP_PROFILE": "work"}, ".omp/profiles/work/agent"),
        ({"PI_PROFILE": "work"}, ".omp/profiles/work/agent"),
        ({"OMP_PROFILE": "default"}, ".omp/agent"),
        ({"PI_CONFIG_DIR": ".pi"}, ".pi/agent"),
        ({"PI_CONFIG_DIR": ".pi", "OMP_PROFILE": "work"}, ".pi/profiles/work/agent"),
    ],
)
def test_a_profile_has_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: str
) -> None:
    """The variables of omp name the directory of `models.yml`."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    write(tmp_path / place / "models.yml", entry("a"))
    assert Client.from_models_yml().base_url == GATEWAY


@pytest.mark.parametrize("place", ["cwd", ".omp/agent", ".omp", "."])
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("TOKEN=secret", "secret"),
        ("export TOKEN = 'se cret' ", "se cret"),
        ('TOKEN="secret"', "secret"),
        ("TOKEN=secret # of the gateway", "secret"),
        ("\ufeff# a comment\nOTHER=1\nTOKEN=secret", "secret"),
        ("TOKENS=secret", "TOKEN"),
        ("TOKEN=", "TOKEN"),
        ("#TOKEN=secret", "TOKEN"),
    ],
)
def test_a_variable_in_a_file_that_omp_reads(
    tmp_path: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    line: str,
    key: str,
) -> None:
    """A variable that is not set is looked up in the `.env` files of omp."""
    write(file, entry("a"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / place / ".env").write_text(line + "\n", encoding="utf-8")
    assert key_of(Client.from_models_yml()) == key
    monkeypatch.setenv("TOKEN", "from the environment")
    assert key_of(Client.from_models_yml()) == "from the environment"


def test_a_key_that_a_command_prints(file: Path) -> None:
    """The error offers a key file instead, and nothing is run."""
    write(file, entry("a", key="!cat /etc/hostname"))
    with pytest.raises(ConfigurationError) as caught:
        Client.from_models_yml()
    assert "printed by a command" in str(caught.value)
    assert "api_key_file=" in (caught.value.hint or "")
    assert "PI_NATIVE_API_KEY_FILE" in (caught.value.hint or "")
    assert "hostname" not in str(caught.value)


def test_the_install_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The install id comes from the argument, else from its variable."""
    monkeypatch.setenv("PI_NATIVE_INSTALL_ID", "from-the-environment")
    assert Client(GATEWAY)._attribution["x-omp-install-id"] == "from-the-environment"
    assert Client(GATEWAY, install_id="mine")._attribution["x-omp-install-id"] == "mine"
