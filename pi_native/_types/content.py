"""Content blocks of messages: text, thinking, images, tool calls.

The annotations state what the protocol promises. A block that was read from the wire may lack a
member, which is then None. Only the required fields of a class can be given by position.
"""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from attrs import define, field

from ..errors import ConfigurationError
from .base import Unknown, WireObject, shortened

if TYPE_CHECKING:
    from typing_extensions import Self

ImageDetail: TypeAlias = Literal["auto", "low", "high", "original"]

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_FORMS = ("png", "jpeg", "webp")
_SHOWN_BYTES = 8


@define(eq=False, repr=False)
class TextContent(WireObject):
    """Text. `text_signature` belongs to the provider and is sent back unchanged."""

    type: Literal["text"] = field(default="text", init=False, repr=False)
    text: str
    text_signature: str | None = field(default=None, kw_only=True, repr=shortened)


@define(eq=False, repr=False)
class ThinkingContent(WireObject):
    """The part of the model's thinking that its provider shows."""

    type: Literal["thinking"] = field(default="thinking", init=False, repr=False)
    thinking: str
    thinking_signature: str | None = field(default=None, kw_only=True, repr=shortened)
    item_id: str | None = field(default=None, kw_only=True)


@define(eq=False, repr=False)
class RedactedThinkingContent(WireObject):
    """Thinking that the provider encrypted; `data` is for the provider only."""

    type: Literal["redactedThinking"] = field(default="redactedThinking", init=False, repr=False)
    data: str = field(repr=shortened)


@define(eq=False, repr=False)
class ImageContent(WireObject):
    """An image. `data` is base64, `url` an optional https mirror of the same bytes.

    `from_file`, `from_bytes`, `from_url_bytes` and `from_image` create one. They detect the format
    by the first bytes and ignore the name of a file; a given `mime_type` is used unchecked.
    """

    type: Literal["image"] = field(default="image", init=False, repr=False)
    data: str = field(repr=shortened)
    mime_type: str
    detail: ImageDetail | None = field(default=None, kw_only=True)
    provider_file: dict[str, Any] | None = field(default=None, kw_only=True)
    url: str | None = field(default=None, kw_only=True, repr=shortened)

    def _repr_html_(self) -> str:
        """Return the image as notebooks show it."""
        from .._notebook.views import image_html  # only notebooks need it

        return image_html(self)

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        mime_type: str | None = None,
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        """Return the image whose file has these bytes.

        Raises `ConfigurationError`, a `ValueError`, for bytes other than PNG, JPEG, GIF or WebP
        without a `mime_type`.

            >>> ImageContent.from_bytes(b"GIF89a...").mime_type
            'image/gif'
        """
        return cls._of(data, mime_type, "the data", detail=detail)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        mime_type: str | None = None,
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        """Return the image in a file.

        Raises `OSError`, and the errors of `from_bytes`.

            >>> chart = ImageContent.from_file("chart.png")
            >>> prompt = UserMessage([TextContent("What does it show?"), chart])
            >>> Client().complete("anthropic/claude-sonnet-4-5", prompt).text
            'Because of the air.'
        """
        with open(path, "rb") as file:
            return cls._of(file.read(), mime_type, os.fspath(path), detail=detail)

    @classmethod
    def from_url_bytes(
        cls,
        url: str,
        data: bytes | bytearray | memoryview,
        mime_type: str | None = None,
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        r"""Return the image whose bytes were fetched from `url`, which is sent with them.

        This method fetches nothing. Raises the errors of `from_bytes`.

            >>> data = b"\xff\xd8\xff\xe0..."  # the body of an answer to a GET
            >>> ImageContent.from_url_bytes("https://acme.example/cat.jpg", data).mime_type
            'image/jpeg'
        """
        return cls._of(data, mime_type, "the data from the URL", detail=detail, url=url)

    @classmethod
    def from_image(
        cls,
        image: Any,
        form: Literal["png", "jpeg", "webp"] = "png",
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        """Return the image of a PIL image or a matplotlib figure, encoded in the format `form`.

        Raises `TypeError` for any other object, `ConfigurationError` for another format, and the
        errors of those libraries.

            >>> from PIL import Image
            >>> ImageContent.from_image(Image.new("RGB", (16, 16)), "jpeg").mime_type
            'image/jpeg'
        """
        return cls._of(_encode_image(image, form), f"image/{form}", "the image", detail=detail)

    @classmethod
    def _of(
        cls,
        data: bytes | bytearray | memoryview,
        mime_type: str | None,
        source: str,
        *,
        detail: ImageDetail | None,
        url: str | None = None,
    ) -> Self:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"an image's data must be bytes, not {type(data).__name__}")
        data = bytes(data)
        text = base64.b64encode(data).decode("ascii")
        return cls(text, _mime_type(data, mime_type, source), detail=detail, url=url)


@define(eq=False, repr=False)
class ToolCall(WireObject):
    """A tool call by the model; its `ToolResultMessage` has the same id."""

    type: Literal["toolCall"] = field(default="toolCall", init=False, repr=False)
    id: str
    name: str
    arguments: dict[str, Any]
    thought_signature: str | None = field(default=None, kw_only=True, repr=shortened)
    intent: str | None = field(default=None, kw_only=True)
    raw_block: str | None = field(default=None, kw_only=True, repr=shortened)
    custom_wire_name: str | None = field(default=None, kw_only=True)
    provider_metadata: Any = field(default=None, kw_only=True)


@define(eq=False, repr=False)
class FallbackContent(WireObject):
    """A switch of the provider from one model to another; both are objects with a `model`."""

    type: Literal["fallback"] = field(default="fallback", init=False, repr=False)
    from_: dict[str, Any]
    to: dict[str, Any]


@define(eq=False, repr=False)
class ServerToolContent(WireObject):
    """A tool that the provider ran itself; `block` is in the provider's own format."""

    type: Literal["anthropicServerTool"] = field(
        default="anthropicServerTool", init=False, repr=False
    )
    block: dict[str, Any]


@define(eq=False, repr=False)
class UnknownContent(Unknown):
    """A block of a type that this version does not know; `data` is the object unchanged."""

    @property
    def type(self) -> Literal["<a type not known here>"] | None:
        """The type of the block, or None if it is not a string.

        At run time it is any string. The annotation is a literal that equals no other one, so
        that comparing `block.type` with a known type leaves only the class of that type.
        """
        own = self.data.get("type")
        return cast('Literal["<a type not known here>"]', own) if isinstance(own, str) else None


Block: TypeAlias = (
    TextContent
    | ThinkingContent
    | RedactedThinkingContent
    | ImageContent
    | ToolCall
    | FallbackContent
    | ServerToolContent
    | UnknownContent
)
"""A block of an `AssistantMessage`."""

InputBlock: TypeAlias = TextContent | ImageContent | UnknownContent
"""A block of any other message."""


def _sniff(data: bytes) -> str | None:
    """Return the MIME type of PNG, JPEG, GIF or WebP bytes, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def _mime_type(data: bytes, given: str | None, source: str) -> str:
    """Return the MIME type as given, else by the first bytes. Raises `ConfigurationError`."""
    kind = given or _sniff(data)
    if kind is not None:
        return kind
    start = f"begins with {data[:_SHOWN_BYTES]!r}" if data else "is empty"
    raise ConfigurationError(
        f"{source}: unsupported image format (expected PNG, JPEG, GIF or WebP); it {start}"
    )


def _encode_image(image: Any, form: str) -> bytes:
    """Return the file of a matplotlib figure or a PIL image in the format "png", "jpeg" or "webp".

    Neither library is imported: the methods of the object tell which one it is from. Raises
    `TypeError` for any other object, `ConfigurationError` for another format, and what the library
    raises.
    """
    if form not in _FORMS:
        raise ConfigurationError(f"unsupported image format {form!r} (expected png, jpeg or webp)")
    file = io.BytesIO()
    if callable(getattr(image, "savefig", None)):
        image.savefig(file, format=form)
    elif callable(getattr(image, "save", None)) and callable(getattr(image, "convert", None)):
        _save_pixels(image, file, form)
    else:
        raise TypeError(
            "expected a PIL image or a matplotlib figure, "
            f"not {type(image).__name__}; use from_bytes for bytes and from_file for a path"
        )
    return file.getvalue()


def _save_pixels(image: Any, file: io.BytesIO, form: str) -> None:
    try:
        image.save(file, format=form)
    except OSError:
        # PNG has no CMYK and JPEG has no transparency.
        file.seek(0)
        file.truncate()
        image.convert("RGB").save(file, format=form)
