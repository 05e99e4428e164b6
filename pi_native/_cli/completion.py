"""`completion`: a script that has a shell complete what can be said to `pi-native`.

All of it is read off the parser when the script is made, so completing starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

_FILE = "FILE"  # the metavar of what is the name of a file

_BASH = """\
# pi-native in bash; in ~/.bashrc:  eval "$(pi-native completion bash)"
_pi_native() {
    local IFS=$'\\n' current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command= words= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            @COMMANDS@) command=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $before in
        @FILES@)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$current"))
            return ;;
        @VALUES@)
            return ;;
    esac
    case $command in
@WORDS@
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _pi_native pi-native
"""

_ZSH = """\
#compdef pi-native
# pi-native in zsh; in ~/.zshrc, after compinit:  eval "$(pi-native completion zsh)"
_pi_native() {
    local state line
    local -A opt_args
    local -a commands=(
@COMMANDS@
    )
    _arguments -C @OPTIONS@ \\
        '1:command:->command' '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument)
            case $words[1] in
@WORDS@
            esac ;;
    esac
}
if [[ $funcstack[1] == _pi_native ]]; then _pi_native "$@"; else compdef _pi_native pi-native; fi
"""

_FISH = """\
# pi-native in fish; in ~/.config/fish/config.fish:  pi-native completion fish | source
complete -c pi-native -f
"""


class _Option(NamedTuple):
    """`value` is what the option takes, by its metavar; None when it takes nothing."""

    names: list[str]
    value: str | None
    text: str
    repeatable: bool


class _Command(NamedTuple):
    """`words` are what its argument can be, where that is known. The program's name is empty."""

    name: str
    text: str
    options: list[_Option]
    words: list[str]


def completion(args: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The script for the shell that `args` names."""
    writer: Callable[[list[_Command]], str] = {"bash": _bash, "zsh": _zsh, "fish": _fish}[
        args.shell
    ]
    return writer(list(_commands(parser)))


def _commands(parser: argparse.ArgumentParser) -> Iterator[_Command]:
    """The program itself, without a name, and its commands."""
    # argparse has no public way to look at what it was told.
    (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    yield _Command("", "", _options(parser), list(group.choices))
    texts = {action.dest: action.help or "" for action in group._choices_actions}
    for name, command in group.choices.items():
        arguments = [action for action in command._actions if not action.option_strings]
        words = [str(word) for action in arguments for word in action.choices or ()]
        yield _Command(name, texts[name], _options(command), words)


def _options(parser: argparse.ArgumentParser) -> list[_Option]:
    return [
        _Option(
            list(action.option_strings),
            None if action.nargs == 0 else str(action.metavar or action.dest),
            action.help or "",
            isinstance(action, argparse._AppendAction),
        )
        for action in parser._actions
        if action.option_strings
    ]


def _bash(commands: list[_Command]) -> str:
    options = [option for command in commands for option in command.options]
    files = _names(option for option in options if option.value == _FILE)
    values = _names(option for option in options if option.value not in (None, _FILE))
    words = [
        f"        {command.name or repr('')}) words=$'{_escaped_words(command)}' ;;"
        for command in commands
    ]
    return _filled(
        _BASH,
        COMMANDS="|".join(command.name for command in commands[1:]),
        FILES="|".join(files),
        VALUES="|".join(values),
        WORDS="\n".join(words),
    )


def _names(options: Iterator[_Option]) -> list[str]:
    return sorted({name for option in options for name in option.names})


def _escaped_words(command: _Command) -> str:
    names = [name for option in command.options for name in option.names]
    return "\\n".join([*command.words, *names])


def _zsh(commands: list[_Command]) -> str:
    program, *others = commands
    listed = [f"        {_quoted(f'{c.name}:{c.text}')}" for c in others]
    words = [
        f"                {c.name}) _arguments {' '.join([*_zsh_options(c), *_zsh_words(c)])} ;;"
        for c in others
    ]
    return _filled(
        _ZSH,
        COMMANDS="\n".join(listed),
        OPTIONS=" ".join(_zsh_options(program)),
        WORDS="\n".join(words),
    )


def _zsh_options(command: _Command) -> Iterator[str]:
    for option in command.options:
        text = "".join(f"\\{char}" if char in "[]:" else char for char in option.text)
        value = "" if option.value is None else f":{option.value}:"
        files = "_files" if option.value == _FILE else ""
        others = "*" if option.repeatable else f"({' '.join(option.names)})"
        for name in option.names:
            yield _quoted(f"{others}{name}[{text}]{value}{files}")


def _zsh_words(command: _Command) -> Iterator[str]:
    if command.words:
        yield _quoted(f"1:{command.name}:({' '.join(command.words)})")


def _fish(commands: list[_Command]) -> str:
    lines = []
    for command in commands[1:]:
        lines.append(f"-n __fish_use_subcommand -a {command.name} -d {_quoted(command.text)}")
    for command in commands:
        seen = f"__fish_seen_subcommand_from {command.name}"
        where = f"-n {_quoted(seen) if command.name else '__fish_use_subcommand'}"
        lines += [f"{where} {_fish_option(option)}" for option in command.options]
        if command.name and command.words:
            lines.append(f"{where} -a {_quoted(' '.join(command.words))}")
    return _FISH + "".join(f"complete -c pi-native {line}\n" for line in lines)


def _fish_option(option: _Option) -> str:
    names = [f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names]
    value = "" if option.value is None else "-r -F " if option.value == _FILE else "-x "
    return f"{' '.join(names)} {value}-d {_quoted(option.text)}"


def _quoted(text: str) -> str:
    """In single quotes, which end for each one inside: all three shells read that."""
    return "'" + text.replace("'", r"'\''") + "'"


def _filled(template: str, **parts: str) -> str:
    for name, part in parts.items():
        template = template.replace(f"@{name}@", part)
    return template
