"""Pictures as bytes, whatever they are at first, and what kind of picture some bytes are.

Pillow and matplotlib are not imported: an object of theirs is known by what it can do.
"""

from __future__ import annotations

import io
from typing import Any

from ..errors import ConfigurationError

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_FORMS = ("png", "jpeg", "webp")
_SHOWN_BYTES = 8


def sniff(data: bytes) -> str | None:
    """The MIME type that the first bytes tell: PNG, JPEG, GIF or WebP."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def kind_of(data: bytes, given: str | None, what: str) -> str:
    """The MIME type as given, else as sniffed. Raises `ConfigurationError` that names `what`."""
    kind = given or sniff(data)
    if kind is not None:
        return kind
    start = f"begins with {data[:_SHOWN_BYTES]!r}" if data else "is empty"
    raise ConfigurationError(
        f"{what} is no image of a known kind: PNG, JPEG, GIF or WebP; it {start}"
    )


def drawn(picture: Any, form: str) -> bytes:
    """A matplotlib figure or a PIL image as a file of the form "png", "jpeg" or "webp".

    Raises `TypeError` for anything else, `ConfigurationError` for another form, and what the
    library raises.
    """
    if form not in _FORMS:
        raise ConfigurationError(f"an image is drawn as png, jpeg or webp, not as {form!r}")
    file = io.BytesIO()
    if callable(getattr(picture, "savefig", None)):
        picture.savefig(file, format=form)
    elif callable(getattr(picture, "save", None)) and callable(getattr(picture, "convert", None)):
        _save_pixels(picture, file, form)
    else:
        raise TypeError(
            "an image is made from a PIL image or a matplotlib figure, "
            f"not from {type(picture).__name__}; bytes go to from_bytes, a path to from_file"
        )
    return file.getvalue()


def _save_pixels(picture: Any, file: io.BytesIO, form: str) -> None:
    try:
        picture.save(file, format=form)
    except OSError:
        # Not every form has every kind of pixel: no PNG has CMYK, no JPEG transparency.
        file.seek(0)
        file.truncate()
        picture.convert("RGB").save(file, format=form)
