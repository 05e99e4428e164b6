"""Images as blocks of a message: from files, from bytes, from what other libraries draw."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from pi_native import ConfigurationError, ImageContent, to_wire

PNG = b"\x89PNG\r\n\x1a\n..."
KINDS = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp"),
]
OTHERS = [b"", b"%PDF-1.7", b"RIFF\x01\x02\x03\x04WAVEfmt ", b"<svg/>", PNG[1:]]


def data_of(image: ImageContent) -> bytes:
    """Return the bytes of an image's base64."""
    return base64.b64decode(image.data, validate=True)


@pytest.mark.parametrize(("data", "kind"), KINDS)
def test_a_kind_is_known_by_its_first_bytes(data: bytes, kind: str) -> None:
    """The type is right, and the bytes are complete."""
    image = ImageContent.from_bytes(data)
    assert image.mime_type == kind
    assert data_of(image) == data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_images_of_other_libraries_are_known(kind: str) -> None:
    """Not only bytes that were made up here."""
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, format=kind)
    assert ImageContent.from_bytes(file.getvalue()).mime_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("data", OTHERS)
def test_bytes_of_no_image_are_refused(data: bytes) -> None:
    """The error is a ValueError that names the kinds, and what there is instead."""
    with pytest.raises(ConfigurationError, match=r"PNG, JPEG, GIF or WebP\); it (is empty|begins)"):
        ImageContent.from_bytes(data)


@pytest.mark.parametrize("data", OTHERS)
def test_a_type_that_is_given_is_believed(data: bytes) -> None:
    """There are more kinds of images than are known here, and models that read them."""
    assert ImageContent.from_bytes(data, "image/heic").mime_type == "image/heic"
    assert ImageContent.from_bytes(PNG, "image/apng").mime_type == "image/apng"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_will_do(kind: Callable[[bytes], Any]) -> None:
    """The bytes are copied, so that they can be changed after."""
    assert data_of(ImageContent.from_bytes(kind(PNG))) == PNG


def test_a_text_is_no_image() -> None:
    """Base64 or a path, given to the wrong method, is refused."""
    with pytest.raises(TypeError, match="bytes, not str"):
        ImageContent.from_bytes("iVBORw0KGgo=")  # type: ignore[arg-type]


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Whatever its name says."""
    file = tmp_path / "picture.gif"
    file.write_bytes(PNG)
    for path in (file, str(file)):
        image = ImageContent.from_file(path, detail="low")
        assert image == ImageContent.from_bytes(PNG, detail="low")
    assert ImageContent.from_file(file, "image/apng").mime_type == "image/apng"


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    """The error tells which of many it was; a missing one is the system's own error."""
    file = tmp_path / "picture.png"
    file.write_bytes(b"%PDF-1.7")
    with pytest.raises(ConfigurationError, match=r"picture\.png: unsupported .* b'%PDF-1.7'"):
        ImageContent.from_file(file)
    with pytest.raises(FileNotFoundError):
        ImageContent.from_file(tmp_path / "nothing.png")


def test_what_came_from_a_url_keeps_it() -> None:
    """The URL goes along as the mirror of the bytes."""
    image = ImageContent.from_url_bytes("https://x.test/a", PNG, detail="high")
    assert to_wire(image) == {
        "type": "image",
        "data": base64.b64encode(PNG).decode(),
        "mimeType": "image/png",
        "detail": "high",
        "url": "https://x.test/a",
    }
    with pytest.raises(ConfigurationError, match="URL"):
        ImageContent.from_url_bytes("https://x.test/a", b"<html>Not found</html>")


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F"])
def test_a_pil_image_of_any_mode_is_encoded(mode: str, form: Any) -> None:
    """Pixels that a format does not have are converted; the size is unchanged."""
    image = ImageContent.from_image(Image.new(mode, (5, 3)), form)
    assert image.mime_type == f"image/{form}"
    encoded = Image.open(io.BytesIO(data_of(image)))
    assert encoded.size == (5, 3)
    assert encoded.format == form.upper()


def test_a_pil_image_keeps_its_pixels() -> None:
    """A PNG, which is the default, loses nothing, transparency included."""
    picture = Image.new("RGBA", (1, 1), (10, 20, 30, 40))
    image = ImageContent.from_image(picture)
    assert image.mime_type == "image/png"
    assert Image.open(io.BytesIO(data_of(image))).getpixel((0, 0)) == (10, 20, 30, 40)


@pytest.fixture
def figure() -> Any:
    """Return a figure of matplotlib, or a stand-in without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return _Figure()
    return Figure()


class _Figure:
    def savefig(self, file: BinaryIO, *, format: str) -> None:
        Image.new("RGBA", (640, 480)).save(file, format=format)


@pytest.mark.slow
def test_a_figure_is_encoded(figure: Any) -> None:
    """A plot becomes a PNG of its size."""
    image = ImageContent.from_image(figure, detail="high")
    assert (image.mime_type, image.detail) == ("image/png", "high")
    assert Image.open(io.BytesIO(data_of(image))).size == (640, 480)


@pytest.mark.parametrize("form", ["jpg", "gif", "PNG", None])
def test_another_form_is_refused(form: Any) -> None:
    """The error names the formats that exist."""
    with pytest.raises(ConfigurationError, match="expected png, jpeg or webp"):
        ImageContent.from_image(Image.new("RGB", (1, 1)), form)


@pytest.mark.parametrize("other", [PNG, "picture.png", io.BytesIO(PNG), None])
def test_nothing_else_is_encoded(other: object) -> None:
    """The error tells where bytes and paths go."""
    with pytest.raises(TypeError, match="from_bytes for bytes and from_file for a path"):
        ImageContent.from_image(other)
