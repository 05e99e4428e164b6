"""HTML views of messages, images, conversations and tables."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    Block,
    Client,
    Conversation,
    Cost,
    DeveloperMessage,
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    ToolResultMessage,
    UnknownContent,
    Usage,
    UserMessage,
    from_wire,
)
from pi_native._notebook.views import (
    conversation_html,
    message_html,
    partial_html,
    result_html,
    table_html,
)

EVIL = "</code></pre></details></td>\n\n<script>alert(1)</script> [x](javascript:x) `*_$"
PICTURE = base64.b64encode(b"\x89PNG").decode()


class Tags(HTMLParser):
    """The tags of a page, in order, and those that are open at its end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, _attrs: Any) -> None:
        """Note the tag."""
        self.all.append(tag)
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag is the last one that was opened."""
        assert self.open.pop() == tag


def shown(*blocks: Block, **more: Any) -> str:
    """Return the view of a message with these blocks, without its outer element."""
    page = AssistantMessage(list(blocks), **more)._repr_html_()
    begin = '<div class="mathjax_ignore tex2jax_ignore">'
    assert page.startswith(begin)
    return page.removeprefix(begin).removesuffix("</div>")


def test_a_message_shows_everything_in_order() -> None:
    """Thinking is folded, text is rendered, a tool call has its arguments, the cost comes last."""
    usage = Usage(input=1234, output=5, cost=Cost(total=0.25))
    parts = shown(
        ThinkingContent("Hm.\nWell."),
        TextContent("It is **blue**."),
        ToolCall("call_1", "clock", {"zone": "UTC"}),
        model="m-1",
        usage=usage,
    )
    assert parts == "\n".join(
        [
            "<details><summary>Thinking</summary><p>Hm.<br>Well.</p></details>",
            "<p>It is <strong>blue</strong>.</p>",
            "<details open><summary>Tool call <code>clock</code></summary><pre><code>{\n"
            "  &quot;zone&quot;: &quot;UTC&quot;\n}</code></pre></details>",
            "<p><small>m-1 · 1,234 tokens in, 5 out, $0.25</small></p>",
        ]
    )


def test_a_result_is_folded() -> None:
    """Its text is shown as it is, its images as images, and a failure says so."""
    picture = ImageContent(PICTURE, "image/png")
    result = ToolResultMessage("call_1", "clock", [TextContent("*half* <past>"), picture])
    page = result_html("clock", result)
    assert "<details><summary>Result of <code>clock</code></summary>" in page
    assert "<pre>*half* &lt;past&gt;</pre>" in page
    assert f"base64,{PICTURE}" in page
    failed = ToolResultMessage("call_1", "clock", EVIL, is_error=True)
    assert "<summary>Failure of <code>clock</code></summary>" in result_html("clock", failed)
    assert "<script" not in result_html(EVIL, failed)
    assert result_html("clock", result) == conversation_html([result])


def test_calls_can_be_folded() -> None:
    """The arguments are shown on a click."""
    message = AssistantMessage([ToolCall("call_1", "clock", {"zone": "UTC"})])
    for page in (message_html(message, folded=True), partial_html(message, "", folded=True)):
        assert "<details><summary>Tool call <code>clock</code></summary>" in page


def test_an_image_is_part_of_the_page() -> None:
    """An image shows its own data, and the page does not load its address."""
    image = ImageContent(PICTURE, "image/png", url="https://example.org/x.png")
    picture = f'<img alt="image" src="data:image/png;base64,{PICTURE}">'
    assert picture in shown(image)
    assert picture in image._repr_html_()
    assert "example.org" not in shown(image)


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        ('"><script>', "image/png"),
        ("AAAA", 'image/png"><script>'),
        ("AAAA", "image/svg+xml"),
        ("AAAA", "text/html"),
        ("", "image/png"),
        (None, None),
    ],
)
def test_an_unsupported_image_is_named(data: Any, mime_type: Any) -> None:
    """Data that is not base64 of a raster image is not put into a page."""
    for page in (shown(ImageContent(data, mime_type)), ImageContent(data, mime_type)._repr_html_()):
        assert "An image that cannot be shown here" in page
        assert "<img" not in page
        assert "<script" not in page


@pytest.mark.parametrize(
    ("message", "remark"),
    [
        (AssistantMessage(stop_reason="error", error_message=EVIL), "Failed"),
        (AssistantMessage(stop_reason="error"), "gave no reason"),
        (AssistantMessage(stop_reason="aborted"), "Cancelled"),
        (AssistantMessage(stop_reason="length"), "Not complete"),
    ],
)
def test_a_message_that_is_not_complete_says_so(message: AssistantMessage, remark: str) -> None:
    """A message that failed, was cancelled or was cut off has a remark."""
    assert remark in message._repr_html_()


def test_a_complete_message_has_no_remark() -> None:
    """A complete message shows its content and its footer."""
    assert "<em>" not in shown(TextContent("Hi"))


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (RedactedThinkingContent("secret"), "has encrypted"),
        (
            FallbackContent({"model": "big"}, {"model": "small"}),
            "Continued with small instead of big",
        ),
        (FallbackContent({}, None), "Continued with another model instead of another"),  # type: ignore[arg-type]
        (ServerToolContent({"name": "search"}), "Tool of the provider <code>search</code>"),
        (ServerToolContent({"type": "result"}), "<code>result</code>"),
        (UnknownContent({"type": "hologram"}), "Block of type <code>hologram</code>"),
        (UnknownContent({}), "Block of type <code>?</code>"),
    ],
)
def test_every_kind_of_block_has_a_view(block: Block, words: str) -> None:
    """Rare and unknown blocks are named, and encrypted thinking is not shown."""
    page = shown(block)
    assert words in page
    assert "secret" not in page


@pytest.mark.parametrize(
    "block",
    [
        TextContent(EVIL),
        ThinkingContent(EVIL),
        ToolCall("1", EVIL, {EVIL: EVIL}),
        ServerToolContent({"name": EVIL, "input": [EVIL]}),
        FallbackContent({"model": EVIL}, {"model": EVIL}),
        UnknownContent({"type": EVIL}),
        ImageContent(EVIL, EVIL),
    ],
)
def test_no_text_ends_the_element_that_contains_it(block: Block) -> None:
    """Tags in texts are escaped, so that the view's own tags stay balanced."""
    page = AssistantMessage([block], model=EVIL, stop_reason="error", error_message=EVIL)
    tags = Tags(page._repr_html_())
    assert tags.open == []
    assert not {"script", "a"} & set(tags.all)


def test_a_message_without_members_has_a_view() -> None:
    """Members that the gateway leaves out are not needed."""
    message = from_wire(
        {
            "role": "assistant",
            "content": [{"type": "text"}, {"type": "thinking"}, {"type": "toolCall"}],
        },
        AssistantMessage,
    )
    assert "reported no usage" in message._repr_html_()
    bare = from_wire({"role": "assistant"}, AssistantMessage)
    assert "<p><small>the gateway reported no usage</small></p>" in bare._repr_html_()


def test_a_conversation_shows_each_message_under_its_role() -> None:
    """Prompts, answers, images and tool results come in order."""
    messages = [
        DeveloperMessage("Be brief."),
        UserMessage([TextContent("Look:"), ImageContent(PICTURE, "image/png")]),
        AssistantMessage([TextContent("**Nice**")]),
        ToolResultMessage("call_1", "clock", [TextContent("noon")]),
        UserMessage(EVIL),
    ]
    page = Conversation(Client("http://127.0.0.1:1"), "a/b", messages=messages)._repr_html_()
    words = ["developer", "Be brief.", "user", "Look:", "<img", "assistant", "<strong>Nice", "noon"]
    places = [page.index(word) for word in words]
    assert places == sorted(places)
    assert Tags(page).open == []
    assert "<script" not in page


def test_a_table_escapes_its_cells() -> None:
    """Numbers have separators, lists are joined, None is empty, and text is text."""
    page = table_html(["a", "b"], [(1234, ["x", "y"]), (None, EVIL), (True, 0.5)])
    assert "<td>1,234</td><td>x, y</td>" in page
    assert "<td></td>" in page
    assert "<td>True</td><td>0.5</td>" in page
    assert Tags(page).open == []
    assert "<script" not in page
