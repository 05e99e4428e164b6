"""The fuzzer's targets pass with its whole corpus, and with variations by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fuzz import __main__ as command
from fuzz.targets import CORPUS, TARGETS, Check, seeds
from pi_native._http import gateway_response as _answer
from pi_native._protocol import decoder as _reader, sse as _sse

MAX_CORPUS_BYTES = 200_000
ENTRIES = [(target, path) for target in TARGETS for path in seeds(target)]
SAMPLES = {target: [path.read_bytes() for path in seeds(target)] for target in TARGETS}
QUICK = settings(suppress_health_check=list(HealthCheck))


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Iterator[Check]:
    """Return the check of the test's target."""
    with TARGETS[request.param]() as opened:
        yield opened


@pytest.mark.parametrize(
    ("check", "path"),
    ENTRIES,
    ids=[f"{target}-{path.name}" for target, path in ENTRIES],
    indirect=["check"],
)
def test_every_entry_of_the_corpus_holds(check: Check, path: Path) -> None:
    """Each entry of the corpus passes its target."""
    check(path.read_bytes())


@st.composite
def variations(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Draw an entry of the corpus with parts removed, repeated, replaced or inserted."""
    data = draw(st.sampled_from(samples))[:4096]
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        other = draw(st.sampled_from(samples))[:4096]
        at = draw(st.integers(0, len(other)))
        part = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"", b"\r", b"\n", b"\r\n\r\n", b'"', b"\\", b"0", b"}"])
            | st.just(data[start:end] * 2)
            | st.just(other[at : at + 60])
        )
        data = data[:start] + part + data[end:]
    return data


@pytest.mark.slow
@settings(QUICK, max_examples=150)
@given(st.binary(max_size=200) | variations(SAMPLES["sse"]))
def test_any_bytes_are_cut_into_the_same_blocks(data: bytes) -> None:
    """The blocks do not depend on the split of the bytes, and the only error is a limit."""
    with TARGETS["sse"]() as check_sse:
        check_sse(data)


@pytest.mark.slow
@settings(QUICK, max_examples=150)
@given(st.binary(max_size=200) | variations(SAMPLES["events"]))
def test_any_bytes_are_read_as_the_same_events(data: bytes) -> None:
    """Each parser, with any split, yields the same events or an error of the package."""
    with TARGETS["events"]() as check_events:
        check_events(data)


@pytest.mark.slow
def test_any_answer_ends_its_turn_once_and_in_time() -> None:
    """Any response ends its turn soon and once, with a message or a package error."""
    with TARGETS["answers"]() as check_answer:

        @settings(QUICK, max_examples=100)
        @given(st.binary(max_size=200) | variations(SAMPLES["answers"]))
        def any_answer(answer: bytes) -> None:
            check_answer(answer)

        any_answer()


BREAKAGES: dict[str, tuple[object, str, object]] = {
    "sse": (_sse, "_OVERLAP", 0),
    "events": (_reader, "_KINDS", dict.fromkeys(_reader._KINDS, _reader.TextDeltaEvent)),
    "answers": (_answer, "connection_error", lambda exc, *_: exc),
}


@pytest.mark.parametrize(("check", "target"), [(t, t) for t in TARGETS], indirect=["check"])
def test_a_target_notices_a_mistake(
    check: Check, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bug in its layer, a target fails on its own corpus."""
    owner, name, mistake = BREAKAGES[target]
    monkeypatch.setattr(owner, name, mistake)
    assert any(_breaks(check, data) for data in SAMPLES[target])


def _breaks(check: Callable[[bytes], None], data: bytes) -> bool:
    try:
        check(data)
    except Exception:  # noqa: BLE001 - any exception ends a fuzzer's run
        return True
    return False


def test_the_corpus_is_small_and_each_target_has_one() -> None:
    """The corpus is under 200 KB, and the command lists all targets."""
    assert set(command.NAMES) == set(TARGETS)
    assert all(SAMPLES.values())
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < MAX_CORPUS_BYTES
