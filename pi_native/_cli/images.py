"""Images to go with a prompt."""

from __future__ import annotations

from pi_native import ConfigurationError, ImageContent


def read_image(file: str) -> ImageContent:
    """The image in a file. Raises `ConfigurationError` for what is none, or cannot be read."""
    try:
        return ImageContent.from_file(file)
    except OSError as exc:
        raise ConfigurationError(f"cannot read the image {file}: {exc.strerror}") from None
