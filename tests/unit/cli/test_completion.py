"""The scripts that have a shell complete. That shells take them is seen in a real terminal."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from pi_native._cli import main
from pi_native._cli.completion import completion


def parser() -> argparse.ArgumentParser:
    """A program with everything that makes a difference."""
    whole = argparse.ArgumentParser("pi-native", add_help=False)
    whole.add_argument("--url", metavar="URL", help="it's [one]: there")
    commands = whole.add_subparsers()
    eat = commands.add_parser("eat", help="Eat, don't talk.", add_help=False)
    eat.add_argument("-f", "--from", metavar="FILE", action="append", help="the plate")
    eat.add_argument("--fast", action=argparse.BooleanOptionalAction)
    eat.add_argument("what", choices=["soup", "bread"])
    return whole


def script(shell: str) -> list[str]:
    """The script's lines."""
    return completion(argparse.Namespace(shell=shell), parser()).splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those of the real program, which prints it."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "doctor",
        "fake-gateway",
        "api-key-file",
        "no-thinking",
        "zsh",
        "image",
        "context",
    ):
        assert word in out
    assert not re.search("@[A-Z]+@", out)


def test_bash() -> None:
    """Words by command, files where one is wanted, and nothing where a value is."""
    lines = [line.strip() for line in script("bash")]
    assert "eat) words=$'soup\\nbread\\n-f\\n--from\\n--fast\\n--no-fast' ;;" in lines
    assert "'') words=$'eat\\n--url' ;;" in lines
    assert "--from|-f)" in lines
    assert "--url)" in lines


def test_zsh() -> None:
    """Its own signs are escaped, and what can be said once is offered once."""
    (options,) = [line for line in script("zsh") if "_arguments -C" in line]
    assert "'(--url)--url[it'\\''s \\[one\\]\\: there]:URL:'" in options
    (eat,) = [line.strip() for line in script("zsh") if line.strip().startswith("eat)")]
    assert shlex.split(eat.removesuffix(" ;;"))[2:] == [
        "*-f[the plate]:FILE:_files",
        "*--from[the plate]:FILE:_files",
        "(--fast --no-fast)--fast[]",
        "(--fast --no-fast)--no-fast[]",
        "1:eat:(soup bread)",
    ]


def test_fish() -> None:
    """A line for each thing."""
    lines = [shlex.split(line) for line in script("fish")[2:]]
    first = lines[0]
    assert first[:7] == ["complete", "-c", "pi-native", "-n", "__fish_use_subcommand", "-a", "eat"]
    assert first[-1] == "Eat, don't talk."
    seen = ["complete", "-c", "pi-native", "-n", "__fish_seen_subcommand_from eat"]
    assert [*seen, "-s", "f", "-l", "from", "-r", "-F", "-d", "the plate"] in lines
    assert [*seen, "-a", "soup bread"] in lines
