"""Plugin for `llm`: the models of a pi-native gateway, named `pi/provider/id`.

`llm` loads this module when it starts. Nothing here asks the gateway, and nothing raises: a broken
or missing list of models only means that there are none until `llm pi refresh`.
"""

from __future__ import annotations

from typing import Any

import llm

from ._model_list import list_file, read_models, write_models


@llm.hookimpl
def register_models(register: Any) -> None:
    """Register the models of the list that `llm pi refresh` wrote."""
    try:
        from ._model import PiModel  # needs a recent llm, which an older one must survive
    except ImportError:
        return
    for row in read_models():
        register(PiModel(row))


@llm.hookimpl
def register_commands(cli: Any) -> None:
    """Add the commands `llm pi ...`."""
    import click  # llm depends on it

    @cli.group(name="pi")
    def pi() -> None:
        """Commands for the models of a pi-native gateway."""

    @pi.command()
    @click.option("--key", help="API key of the gateway, or the name of a key of 'llm keys'")
    def refresh(key: str | None) -> None:
        """Ask the gateway for its models, and keep the list for later calls of llm."""
        from pi_native.errors import PiNativeError

        from ._keys import make_client, stored_key

        try:
            from ._model import PiModel  # noqa: F401 - the check of the version
        except ImportError:
            raise click.ClickException(
                "this version of llm is too old for the models of pi-native: "
                "pip install --upgrade llm"
            ) from None
        try:
            with make_client(stored_key(key)) as client:
                models = client.models()
                write_models(models)
        except (PiNativeError, OSError) as exc:
            raise click.ClickException(str(exc)) from exc
        count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        click.echo(f"{count} of {client.base_url}, in {list_file()}")
