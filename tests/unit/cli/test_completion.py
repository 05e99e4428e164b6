"""The completion scripts. How shells use them is tested in a real terminal."""

from __future__ import annotations

import sys

import pytest

from pi_native._cli import main


@pytest.fixture
def _shtab() -> None:
    """Skip without shtab, which the extra [cli] brings."""
    pytest.importorskip("shtab")


@pytest.mark.usefixtures("_shtab")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script for each shell knows the commands, their options, and how to list models."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in ("doctor", "fake-gateway", "api-key-file", "no-thinking", "reasoning", "xhigh"):
        assert word in out
    assert "pi-native models --ids" in out


@pytest.mark.usefixtures("_shtab")
def test_zsh_lists_no_models_while_it_loads_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that asks the gateway is in a function, so a new shell does not wait for it."""
    main(["completion", "zsh"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "models --ids" in line]
    assert line.strip().startswith("compadd")


def test_without_shtab_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install; it is wrong usage."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install '.[cli]' in a checkout of pi-native" in capsys.readouterr().err
