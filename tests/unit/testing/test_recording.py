"""The file of a recording, and the redaction of secrets."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st

from pi_native.testing._recording.file import FIRST_LINE, RecordedTurn, lines, load
from pi_native.testing._recording.redact import Redactor
from pi_native.testing._recording.replay import Recorded

from ...characters import CHARACTERS

times = st.integers(0, 10**8).map(lambda tenth_ms: tenth_ms / 10_000)
words = st.text(CHARACTERS, max_size=20)
bodies = st.binary(max_size=50) | words.map(lambda text: text.encode("utf-8", "replace"))
exchanges = st.builds(
    RecordedTurn,
    number=st.just(1),
    at=times,
    method=st.sampled_from(["GET", "POST"]),
    path=words,
    body=st.binary(max_size=50) | st.just(b'{"modelId":"a/b"}'),
    status=st.integers(100, 599),
    reason=words,
    headers=st.dictionaries(words, words, max_size=3),
    answered_at=times,
    pieces=st.lists(st.tuples(times, bodies.filter(bool)), max_size=5),
    end=st.sampled_from(["complete", "cut", "reset", "left"]),
    ended_at=times,
)


def written(path: Path, *parts: bytes) -> Path:
    """Write a file of these parts, and return its path."""
    path.write_bytes(b"".join(parts))
    return path


class TestFile:
    """Writing and reading a file."""

    @given(exchange=exchanges)
    def test_what_is_written_is_read_again(
        self, tmp_path_factory: pytest.TempPathFactory, exchange: RecordedTurn
    ) -> None:
        """Any bytes, times and headers are read unchanged, and a request's JSON as its value."""
        path = written(tmp_path_factory.mktemp("r") / "r.jsonl", FIRST_LINE, lines(exchange))
        [again] = load(path)
        assert attrs.evolve(again, body=exchange.body) == exchange
        if again.body != exchange.body:
            assert json.loads(again.body) == json.loads(exchange.body)

    def test_a_line_can_be_read_by_people(self) -> None:
        """Text is text in any script, and other bytes are base64."""
        exchange = RecordedTurn(
            2, 0.5, "GET", "/p", pieces=[(0.25, "héé\n".encode()), (0.5, b"\xff")]
        )
        exchange.status, exchange.reason, exchange.end = 200, "OK", "cut"
        assert lines(exchange).decode().splitlines() == [
            '{"exchange":2,"at":0.5,"method":"GET","path":"/p"}',
            '{"exchange":2,"at":0.0,"status":200,"reason":"OK","headers":{}}',
            '{"exchange":2,"at":0.25,"text":"héé\\n"}',
            '{"exchange":2,"at":0.5,"base64":"/w=="}',
            '{"exchange":2,"at":0.0,"end":"cut"}',
        ]

    def test_exchanges_come_in_the_order_in_which_they_began(self, tmp_path: Path) -> None:
        """The order of their ends does not matter."""
        first, second = RecordedTurn(1, 0.0, "GET", "/1"), RecordedTurn(2, 0.1, "GET", "/2")
        path = written(tmp_path / "r.jsonl", FIRST_LINE, lines(second), lines(first))
        assert [exchange.path for exchange in load(path)] == ["/1", "/2"]

    def test_a_file_without_its_end_is_read_as_far_as_it_goes(self, tmp_path: Path) -> None:
        """The last exchange of a killed recorder ends as "left"."""
        whole = lines(
            RecordedTurn(1, 0.0, "GET", "/1", status=200, pieces=[(2.0, b"x")], end="cut")
        )
        path = written(tmp_path / "r.jsonl", FIRST_LINE, *whole.splitlines(keepends=True)[:-1])
        [exchange] = load(path)
        assert (exchange.pieces, exchange.end, exchange.ended_at) == ([(2.0, b"x")], "left", 2.0)

    @pytest.mark.parametrize(
        ("content", "place"),
        [
            (b"", "not a recording"),
            (b"hello\n", "not a recording"),
            (b'{"recording":"pi_native","version":2}\n', "not a recording"),
            (FIRST_LINE + b"hello\n", "line 2"),
            (FIRST_LINE + b"[]\n", "line 2"),
            (FIRST_LINE + b'{"exchange":1,"at":0,"end":"cut"}\n', "line 2"),
            (FIRST_LINE + lines(RecordedTurn(1, 0.0, "GET", "/"))[:-6] + b'_"}\n', "unknown end"),
        ],
    )
    def test_what_is_no_recording_is_a_value_error_with_the_place(
        self, tmp_path: Path, content: bytes, place: str
    ) -> None:
        """The error names the file, and the line if there is one."""
        with pytest.raises(ValueError, match=rf"r\.jsonl.*{place}"):
            load(written(tmp_path / "r.jsonl", content))


class TestSecrets:
    """Redaction of an exchange."""

    @pytest.mark.parametrize(
        "form", ['k"ey/é+x', 'k\\"ey/é+x', 'k\\"ey/\\u00e9+x', "k%22ey%2F%C3%A9%2Bx"]
    )
    def test_a_key_is_found_however_it_is_written(self, form: str) -> None:
        """A key is found as it is, in JSON and in a URL, and lengths stay."""
        redactor = Redactor()
        redactor.learn_key('k"ey/é+x')
        scrubbed = redactor.redact(RecordedTurn(1, 0.0, "POST", "/", body=f"<{form}>".encode()))
        assert scrubbed.body == b"<" + b"*" * len(form.encode()) + b">"

    @given(st.lists(st.integers(0, 12), max_size=6))
    def test_however_the_reads_fell(self, cuts: list[int]) -> None:
        """The pieces keep their lengths and times, and no part of a key is left."""
        text = b"ab-sesame-cd"
        edges = [0, *sorted(cuts), len(text)]
        pieces = [(float(n), text[a:b]) for n, (a, b) in enumerate(itertools.pairwise(edges))]
        redactor = Redactor()
        redactor.learn_key("sesame")
        scrubbed = redactor.redact(RecordedTurn(1, 0.0, "GET", "/", pieces=pieces)).pieces
        assert b"".join(data for _, data in scrubbed) == b"ab-******-cd"
        assert [(at, len(data)) for at, data in scrubbed] == [(at, len(d)) for at, d in pieces]

    def test_a_key_of_three_letters_protects_nothing(self) -> None:
        """A key of three letters is not replaced, because it is part of words."""
        redactor = Redactor()
        redactor.learn_key("the")
        exchange = RecordedTurn(1, 0.0, "GET", "/", body=b"the other")
        assert redactor.redact(exchange) == exchange

    def test_without_any_secret_only_people_in_urls_go(self) -> None:
        """Only the user part of a URL is replaced."""
        body = b"me@example.org https://x.org/@me https://me:pw@x.org"
        scrubbed = Redactor().redact(RecordedTurn(1, 0.0, "GET", "/", body=body)).body
        assert scrubbed == b"me@example.org https://x.org/@me https://*****@x.org"

    def test_the_longer_of_two_secrets_goes_first(self) -> None:
        """A secret that begins with another one is replaced completely."""
        redactor = Redactor()
        redactor.learn_key("abcd")
        redactor.learn_key("abcdefgh")
        assert redactor.redact(RecordedTurn(1, 0.0, "GET", "/", body=b"abcdefgh")).body == b"*" * 8


@pytest.mark.parametrize(
    "text",
    [
        '{"x-api-key":"sesame"}',
        '{"api_key" : "sesame", "b": 1}',
        '{"apiKey":"sesame"}',
        '{"openai_api_key":"sesame"}',
        '{"Authorization":"Bearer sesame"}',
        '{"password":"se\\"same"}',
        '{"a":{"client_secret":"sesame"}}',
        '{"refreshToken":"sesame"}',
        '{"Cookie":"id=sesame"}',
        '{"privateKey":"-----BEGIN\\nsesame"}',
        '{"arguments":"{\\"token\\": \\"sesame\\"}"}',
        '{"partialArgs":"{\\"token\\":\\"sesame"}',
        '{"partialArgs":"{\\"token\\":\\"a\\\\\\"sesame"}',
    ],
)
def test_a_member_with_a_secret_name_is_masked(text: str) -> None:
    """Its value becomes as many asterisks, and the text around it stays JSON."""
    exchange = RecordedTurn(1, 0.0, "GET", "/", pieces=[(0.0, text.encode())])
    [(_, masked)] = Redactor().redact(exchange).pieces
    assert b"sesame" not in masked
    assert len(masked) == len(text.encode())
    json.loads(masked)


@pytest.mark.parametrize(
    "text",
    [
        '{"totalTokens":5,"max_tokens":"5","promptCacheKey":"k1","keyboard":"qwerty"}',
        '{"type":"token","author":"anna","tokens":"a b"}',
        '{"token":{"type":"string"},"secret":null,"password":""}',
        '{"text":"the password is in the safe"}',
    ],
)
def test_other_members_are_not_masked(text: str) -> None:
    """A name that only resembles a secret's name, or a value that is not a string, stays."""
    exchange = RecordedTurn(1, 0.0, "GET", "/", body=text.encode())
    assert Redactor().redact(exchange) == exchange


def test_headers_in_a_body_follow_the_list_of_headers() -> None:
    """At any depth, the values of headers that are not known to be harmless are replaced."""
    body = {"options": {"headers": {"X-A": "1", "Accept": "2"}}, "m": [{"headers": {"y": ["3"]}}]}
    exchange = RecordedTurn(1, 0.0, "POST", "/", body=json.dumps(body).encode())
    assert json.loads(Redactor().redact(exchange).body) == {
        "options": {"headers": {"X-A": "***", "Accept": "2"}},
        "m": [{"headers": {"y": "***"}}],
    }


def test_a_body_of_a_megabyte_is_redacted_in_time() -> None:
    """Long runs of letters do not make the search slow."""
    body = b'{"data":"' + b"a" * 1_000_000 + b'"}' + b'"' * 10_000
    exchange = RecordedTurn(1, 0.0, "POST", "/", body=body)
    began = time.monotonic()
    assert Redactor().redact(exchange) == exchange
    assert time.monotonic() - began < 5


def test_a_recorded_answer_shows_itself_in_a_line() -> None:
    """Its repr has the request and the status, and no body."""
    exchange = RecordedTurn(1, 0.0, "POST", "/v1/pi/stream", b'{"modelId":"a/b"}', status=200)
    assert repr(Recorded(exchange)) == "<recorded POST /v1/pi/stream a/b: 200>"
    page = RecordedTurn(2, 0.0, "GET", "/healthz")
    assert repr(Recorded(page)) == "<recorded GET /healthz: no answer>"
