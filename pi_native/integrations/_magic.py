"""The cell magic `%%pi` of IPython: a cell is a prompt, and shows its answer while it arrives."""

from __future__ import annotations

import json
import keyword
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from pi_native import Client, Conversation, ImageContent, TextContent, UserMessage

_MODEL_VARIABLE = "PI_NATIVE_MODEL"
_NAME = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")


def register(shell: Any) -> None:
    """Add the magic to a shell of IPython."""

    @no_var_expand  # IPython's own `{name}` would change `{{name}}` in the first line
    @magic_arguments()
    @argument("-m", "--model", help=f"PROVIDER/ID; default: {_MODEL_VARIABLE}")
    @argument("-s", "--system", help="the instructions; names are filled in here, too")
    @argument("--into", metavar="NAME", help="the variable that the answer's message goes into")
    @argument("--chat", metavar="NAME", help="the conversation to continue, or a new one")
    @argument("--client", metavar="NAME", help="the client to use; default: a new one")
    @argument("--reasoning", metavar="LEVEL", help="the effort of thinking, such as low or high")
    @argument("--max-tokens", type=int, metavar="N", help="the limit of output tokens")
    @argument("--temperature", type=float, metavar="T", help="the randomness of the answer")
    @argument(
        *("-o", "--option"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of a turn; the value is JSON, else a text",
    )
    def pi(line: str, cell: str) -> None:
        """Send the cell to a model, and show the answer while it arrives.

        `{{name}}` is replaced by the variable of that name; an image becomes an image. The stop
        button cancels the turn.
        """
        Cell(shell.user_ns, pi.parser.parse_args(_words(line))).run(cell)

    shell.register_magic_function(pi, "cell", "pi")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as exc:
        raise UsageError(f"%%pi: {exc}") from None


class Cell:
    """One cell: its arguments, and the variables of the notebook."""

    def __init__(self, namespace: dict[str, Any], arguments: Any) -> None:
        self._namespace = namespace
        self._arguments = arguments

    def run(self, text: str) -> None:
        """Make the turn. Raises `UsageError` before it, and the errors of the turn."""
        arguments, namespace = self._arguments, self._namespace
        for option in ("into", "chat"):
            _check_name(option, getattr(arguments, option))
        prompt = _filled(text.strip(), namespace)
        if not prompt:
            raise UsageError("%%pi: the cell is empty: write the prompt below the first line")
        client = self._variable("client", Client)
        chat = self._variable("chat", Conversation)
        own = None if client or (chat and chat.client) else Client()
        try:
            talk = self._conversation(chat, client or own)
            message = talk.stream(prompt, **self._options()).display()
        finally:
            if own is not None:
                own.close()
        if arguments.into:
            namespace[arguments.into] = message
        if arguments.chat:
            namespace[arguments.chat] = talk

    def _variable(self, option: str, kind: type) -> Any:
        """Return the variable that an option names; None without it, or for a new conversation."""
        name = getattr(self._arguments, option)
        if name is None or (name not in self._namespace and kind is Conversation):
            return None
        if not isinstance(value := self._namespace.get(name), kind):
            found = type(value).__name__ if name in self._namespace else "not defined"
            raise UsageError(f"%%pi: --{option} {name} must be a {kind.__name__}; it is {found}")
        return value

    def _conversation(self, chat: Conversation | None, client: Client | None) -> Conversation:
        arguments = self._arguments
        talk = Conversation() if chat is None else chat
        talk.client = client or talk.client
        talk.model = arguments.model or talk.model or os.environ.get(_MODEL_VARIABLE)
        if talk.model is None:
            raise UsageError(f"%%pi: no model: give -m PROVIDER/ID or set {_MODEL_VARIABLE}")
        if arguments.system is not None:
            system = _filled(arguments.system, self._namespace)
            if not isinstance(system, str):
                raise UsageError("%%pi: --system cannot hold an image")
            talk.context.system_prompt = [system]
        return talk

    def _options(self) -> dict[str, Any]:
        arguments = self._arguments
        named = {
            "reasoning": arguments.reasoning,
            "max_tokens": arguments.max_tokens,
            "temperature": arguments.temperature,
        }
        given = {name: value for name, value in named.items() if value is not None}
        return {**dict(map(_option, arguments.option)), **given}


def _check_name(option: str, name: str | None) -> None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"%%pi: --{option} takes the name of a variable, not {name!r}")


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"%%pi: -o takes NAME=VALUE, not {text!r}")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _filled(text: str, namespace: Mapping[str, Any]) -> Any:
    """Return the text with its names filled in; a message if one of them is an image.

    Raises `UsageError` that lists the names that are not defined. What is filled in is not read
    again, so that `{{...}}` in a variable stays as it is.
    """
    missing = sorted({name for name in _NAME.findall(text) if name not in namespace})
    if missing:
        names = ", ".join(missing)
        raise UsageError(f"%%pi: not defined: {names} (for {{{{{missing[0]}}}}} in the cell)")
    pieces = _NAME.split(text)  # texts, and names at the odd places
    values = [namespace[piece] if at % 2 else piece for at, piece in enumerate(pieces)]
    if not any(isinstance(value, ImageContent) for value in values):
        return "".join(map(str, values))
    blocks = [v if isinstance(v, ImageContent) else TextContent(str(v)) for v in values]
    return UserMessage([b for b in blocks if isinstance(b, ImageContent) or b.text])
