"""`completion`: print the script with which a shell completes commands, options and values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from pi_native import ConfigurationError

# The program itself lists the gateway's models; it must not make the Tab key wait for long.
_MODEL_IDS = "pi-native models --ids --timeout 3 2>/dev/null"

# A function, because zsh would run a command in the script when it loads the script.
_ZSH_MODELS = f"""\
_pi_native_models() {{
  compadd -- ${{(f)"$({_MODEL_IDS})"}}
}}
"""

Completers = Mapping[str, Any]
"""The completers of arguments, by their metavar."""


def completion_script(
    shell: str, build_parser: Callable[[Completers], argparse.ArgumentParser]
) -> str:
    """Return the script for a shell. Raises `ConfigurationError` without shtab."""
    try:
        import shtab
    except ImportError:
        raise ConfigurationError(
            "shell completion needs the package shtab: "
            "pip install '.[cli]' in a checkout of pi-native"
        ) from None
    by_command: dict[str, Any] = shtab.cmd(_MODEL_IDS)
    models = {
        **by_command,
        "zsh": "_pi_native_models",
        "preamble": {**by_command["preamble"], "zsh": _ZSH_MODELS},
    }
    return shtab.complete(build_parser({"FILE": shtab.FILE, "MODEL": models}), shell)
