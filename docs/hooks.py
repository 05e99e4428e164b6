"""Add the version and the link to the repository, which setup.cfg and the package define."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pi_native


def on_config(config: Any) -> Any:
    """Set the values of the site that have their home elsewhere."""
    config["site_name"] += f" {pi_native.__version__}"
    repository = _repository(Path(config["config_file_path"]).parent / "setup.cfg")
    if repository is not None:
        config["repo_url"] = repository
        config["repo_name"] = "Repository"
    return config


def _repository(path: Path) -> str | None:
    """Return the address of the repository in a setup.cfg; None if there is none."""
    setup = configparser.ConfigParser()
    setup.read(path, encoding="utf-8")
    lines = setup.get("metadata", "project_urls", fallback="").splitlines()
    urls = {name.strip(): url.strip() for name, _, url in (line.partition("=") for line in lines)}
    return urls.get("Source") or urls.get("Repository")
