"""Images to go with a prompt."""

from __future__ import annotations

import base64
from pathlib import Path

from pi_native import ConfigurationError, ImageContent

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def read_image(file: str) -> ImageContent:
    """The image in a file. Raises `ConfigurationError` for what is none, or cannot be read."""
    try:
        data = Path(file).read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read the image {file}: {exc.strerror}") from None
    mime_type = sniff(data)
    if mime_type is None:
        raise ConfigurationError(f"{file} is no image of a known kind: PNG, JPEG, GIF or WebP")
    return ImageContent(base64.b64encode(data).decode("ascii"), mime_type)


def sniff(data: bytes) -> str | None:
    """The MIME type that the first bytes tell, whatever the file is called."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
