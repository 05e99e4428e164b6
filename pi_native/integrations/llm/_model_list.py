"""The file with the gateway's models, in llm's own folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import llm

from pi_native import ModelInfo


def list_file() -> Path:
    """Return the path of the file. Raises `OSError` if llm has no folder."""
    return Path(llm.user_dir()) / "pi-models.json"


def read_models() -> list[dict[str, Any]]:
    """Return the rows of the file, each with an `id`; none if the file is missing or broken."""
    try:
        rows = json.loads(list_file().read_text(encoding="utf-8"))["models"]
        valid = [row for row in rows if isinstance(row["id"], str) and row["id"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return list({row["id"]: row for row in valid}.values())


def write_models(models: Iterable[ModelInfo]) -> None:
    """Replace the file. Raises `OSError`."""
    path = list_file()
    text = json.dumps({"models": [model.to_dict() for model in models]}, indent=1)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
