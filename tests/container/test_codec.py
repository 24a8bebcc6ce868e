"""Law 1: serialize(parse(header)) == header, for every header there is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.headers.codec import MAX_NESTING, parse_header, serialize_header
from ggufsurgeon.errors import MalformedFileError
from tests.conftest import ROOT
from tests.models.builders import ARRAY, BOOL, STRING, U32, U64, Tensor, gguf, pair, string, value
from tests.models.strategies import files

HEADERS = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))


@given(files())
def test_roundtrip_of_any_header(data: bytes) -> None:
    header, n_bytes = parse_header(data, "any")
    assert serialize_header(header) == data[:n_bytes]
    for pair_ in header.pairs:
        pair_.value  # noqa: B018 - whatever was walked can be decoded


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.stem)
def test_roundtrip_of_every_architecture(path: Path) -> None:
    data = path.read_bytes()
    header, n_bytes = parse_header(data, str(path))
    assert serialize_header(header) == data[:n_bytes]


def test_roundtrip_of_real_models(stories: Path, smollm2: Path) -> None:
    for path in (stories, smollm2):
        data = path.read_bytes()
        header, n_bytes = parse_header(data, str(path))
        assert serialize_header(header) == data[:n_bytes]


def test_values_are_decoded_as_gguf_py_does(smollm2: Path) -> None:
    from gguf import GGUFReader

    header, _ = parse_header(smollm2.read_bytes(), str(smollm2))
    fields = GGUFReader(smollm2, "r").fields
    for pair_ in header.pairs:
        assert fields[pair_.key].contents() == pair_.value, pair_.key


@given(st.sampled_from("<>"), st.booleans(), st.integers(2, 255))
def test_odd_booleans_keep_their_byte(order: str, in_array: bool, odd: int) -> None:
    kind, content = (ARRAY, (BOOL, [odd, 0])) if in_array else (BOOL, odd)
    data = gguf([pair("k", kind, content, order)], order=order)
    header, _ = parse_header(data, "odd")
    assert header.get("k") == ([True, False] if in_array else True)
    assert serialize_header(header) == data


@given(files(), st.data())
def test_a_truncated_header_is_malformed_at_every_byte(data: bytes, draw: st.DataObject) -> None:
    _, n_bytes = parse_header(data, "whole")
    cut = draw.draw(st.integers(0, n_bytes - 1))
    with pytest.raises(MalformedFileError) as caught:
        parse_header(data[:cut], "cut.gguf")
    assert caught.value.offset is not None and caught.value.offset <= cut
    assert "cut.gguf" in str(caught.value)


@given(files(), st.data())
def test_a_damaged_header_never_hangs_or_crashes(data: bytes, draw: st.DataObject) -> None:
    _, n_bytes = parse_header(data, "whole")
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, n_bytes - 1))] = draw.draw(st.integers(0, 255))
    try:
        header, n_bytes = parse_header(bytes(damaged), "damaged")
    except MalformedFileError:
        return
    assert serialize_header(header) == damaged[:n_bytes]


HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("data", "offset", "says"),
    [
        (b"", 0, "not a GGUF"),
        (b"GGU", 0, "not a GGUF"),
        (b"PK\x03\x04" + bytes(60), 0, "not a GGUF"),
        (gguf(version=1), 4, "found 1"),
        (gguf(version=4), 4, "found 4"),
        (gguf(version=1, order=">"), 4, "found 1"),
        (gguf(n_pairs=HUGE), 24, f"{HUGE} key-value pairs"),
        (gguf(n_tensors=HUGE), 24, f"{HUGE} tensor infos"),
        (gguf([pair("k", U32, 1), pair("k", U32, 1)]), 41, "duplicate key 'k'"),
        (gguf([pair("", U32, 1)]), 24, "empty string"),
        (gguf([string("k") + struct.pack("<IQ", 13, 0)]), 33, "expected 0 to 12"),
        (gguf([string("k") + struct.pack("<IIQ", ARRAY, U32, HUGE)]), 49, f"{4 * HUGE} bytes"),
        (gguf([string("k") + struct.pack("<IIQ", ARRAY, STRING, HUGE)]), 49, "strings of 'k'"),
        (gguf([string("k") + struct.pack("<IIQ", ARRAY, ARRAY, HUGE)]), 49, "arrays of 'k'"),
        (gguf([string("k") + struct.pack("<IIQ", ARRAY, 13, 1)]), 49, "unknown type 13"),
        (gguf([string("k") + struct.pack("<IIQQ", ARRAY, STRING, 1, HUGE)]), 49, "past the end"),
        (gguf([string("k") + struct.pack("<IIQQQ", ARRAY, STRING, 2, 2**64 - 1, 0)]), 49, "past"),
        (gguf([struct.pack("<QQ", HUGE, 0)]), 32, f"{HUGE} bytes of a key"),
        (gguf([pair("general.alignment", U32, 0)]), 24, "power of two"),
        (gguf([pair("general.alignment", U32, 48)]), 24, "power of two"),
        (gguf([pair("general.alignment", U64, 32)]), 24, "power of two"),
        (gguf([], [Tensor("t"), Tensor("t")]), 57, "duplicate tensor 't'"),
        (gguf([], [Tensor("t", (1,) * 9)]), 33, "9 dimensions"),
    ],
)  # fmt: skip
def test_malformed_headers_are_named_with_their_offset(data: bytes, offset: int, says: str) -> None:
    with pytest.raises(MalformedFileError) as caught:
        parse_header(data, "bad.gguf")
    assert says in str(caught.value)
    assert caught.value.offset == offset
    assert f"bad.gguf, at byte {offset}: " in str(caught.value)


def test_arrays_nest_so_deep_and_no_deeper() -> None:
    content: tuple[int, list[object]] = (U32, [7])
    for _ in range(MAX_NESTING - 1):
        content = (ARRAY, [content])
    data = gguf([pair("k", ARRAY, content)])
    header, _ = parse_header(data, "deep")
    assert serialize_header(header) == data
    header.get("k")
    with pytest.raises(MalformedFileError, match="deep"):
        parse_header(gguf([pair("k", ARRAY, (ARRAY, [content]))]), "deeper")


def test_length_fields_do_not_make_memory_grow() -> None:
    import tracemalloc

    data = gguf([string("k") + struct.pack("<IIQ", ARRAY, U64, 2**40), value(STRING, "x" * 99)])
    tracemalloc.start()
    with pytest.raises(MalformedFileError):
        parse_header(data, "huge")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_big_vocabulary_costs_memory_in_proportion() -> None:
    import tracemalloc

    tokens = [f"token-{n}" for n in range(50_000)]
    data = gguf([pair("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))])
    tracemalloc.start()
    header, _ = parse_header(data, "big")
    assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    tracemalloc.stop()
    assert header.get("tokenizer.ggml.tokens") == tokens
