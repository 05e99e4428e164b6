"""The blocks that messages are made of: text, thinking, images, tool calls.

The annotations say what the protocol promises. A block that was read from the wire may break the
promise by leaving a member out, which is then None.

Only the first fields of a class, those that are no use without, can be given by position.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from attrs import define, field

from .base import Unknown, WireObject, shortened
from .images import drawn, kind_of

if TYPE_CHECKING:
    from typing_extensions import Self

ImageDetail: TypeAlias = Literal["auto", "low", "high", "original"]


@define(eq=False, repr=False)
class TextContent(WireObject):
    """Text. `text_signature` is the provider's, to be sent back as it is."""

    type: Literal["text"] = field(default="text", init=False, repr=False)
    text: str
    text_signature: str | None = field(default=None, kw_only=True, repr=shortened)


@define(eq=False, repr=False)
class ThinkingContent(WireObject):
    """What the model thought, as far as its provider shows it."""

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

    `from_file`, `from_bytes`, `from_url_bytes` and `from_image` make one. They find out the kind of
    image by its first bytes, whatever a file is called; a `mime_type` that is given is believed.
    """

    type: Literal["image"] = field(default="image", init=False, repr=False)
    data: str = field(repr=shortened)
    mime_type: str
    detail: ImageDetail | None = field(default=None, kw_only=True)
    provider_file: dict[str, Any] | None = field(default=None, kw_only=True)
    url: str | None = field(default=None, kw_only=True, repr=shortened)

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        mime_type: str | None = None,
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        """The image that a file's bytes are.

        Raises `ConfigurationError`, a `ValueError`, for what is not PNG, JPEG, GIF or WebP when no
        `mime_type` says what it is.

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
        """The image in a file.

        Raises `OSError`, and what `from_bytes` does.

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
        """The image that was fetched from `url`, which goes along as the mirror of its bytes.

        Nothing is fetched here. Raises what `from_bytes` does.

            >>> data = b"\\xff\\xd8\\xff\\xe0..."  # the body of an answer to a GET
            >>> ImageContent.from_url_bytes("https://acme.example/cat.jpg", data).mime_type
            'image/jpeg'
        """
        return cls._of(data, mime_type, "what came from the URL", detail=detail, url=url)

    @classmethod
    def from_image(
        cls,
        image: Any,
        form: Literal["png", "jpeg", "webp"] = "png",
        *,
        detail: ImageDetail | None = None,
    ) -> Self:
        """A PIL image, or a matplotlib figure, drawn as a file of that form.

        Raises `TypeError` for anything else, `ConfigurationError` for another form, and what those
        libraries raise.

            >>> from PIL import Image
            >>> ImageContent.from_image(Image.new("RGB", (16, 16)), "jpeg").mime_type
            'image/jpeg'
        """
        return cls._of(drawn(image, form), f"image/{form}", "the image", detail=detail)

    @classmethod
    def _of(
        cls,
        data: bytes | bytearray | memoryview,
        mime_type: str | None,
        what: str,
        *,
        detail: ImageDetail | None,
        url: str | None = None,
    ) -> Self:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"an image's data is bytes, not {type(data).__name__}")
        data = bytes(data)
        text = base64.b64encode(data).decode("ascii")
        return cls(text, kind_of(data, mime_type, what), detail=detail, url=url)


@define(eq=False, repr=False)
class ToolCall(WireObject):
    """The model wants a tool called; answer with a `ToolResultMessage` that has the same id."""

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
    """The provider went over from one model to another; both are objects with a `model`."""

    type: Literal["fallback"] = field(default="fallback", init=False, repr=False)
    from_: dict[str, Any]
    to: dict[str, Any]


@define(eq=False, repr=False)
class ServerToolContent(WireObject):
    """A tool that the provider ran by itself; `block` is in the provider's own format."""

    type: Literal["anthropicServerTool"] = field(
        default="anthropicServerTool", init=False, repr=False
    )
    block: dict[str, Any]


@define(eq=False, repr=False)
class UnknownContent(Unknown):
    """A block of a type that this version does not know, in `data` as it came."""

    @property
    def type(self) -> Literal["<a type not known here>"] | None:
        """The block's own type, if it is a string.

        At run time that is any string. The annotation is a literal that equals no other one, so
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
