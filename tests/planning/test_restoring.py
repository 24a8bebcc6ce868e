"""Restoring: law 10, the original byte for byte from the patched file alone."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.container.layout import lay_out, pad
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.new_tensors.span_ranges import compose
from ggufsurgeon.planning.originals.restoring import MOST_PATCHES, plan_restore
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.rebuilding.ingredients import find_ingredients
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.write_plan import CopySpan, GatherSpan, WritePlan, ZeroSpan
from tests.conftest import ROOT
from tests.models.builders import STRING, U32, block_tensors, gguf, llama_model, pair
from tests.models.in_memory import opened, run, with_odd_padding
from tests.planning.drawing import N_BLOCKS, models
from tests.planning.test_slices import Tables, tables

unhurried = settings(deadline=None)

whole_paths = st.tuples(
    st.permutations(range(N_BLOCKS)), st.lists(st.integers(0, N_BLOCKS - 1), max_size=6)
).map(lambda drawn: [0, *drawn[0], *drawn[1]])
"""Every block at least once; the first one first, which some metadata ask for."""


def patched(data: bytes, path: LayerPath) -> bytes:
    return run(plan_patch(opened(data), path).write_plan, data)


def restored(data: bytes) -> bytes:
    return run(plan_restore(opened(data)).write_plan, data)


@unhurried
@given(models(), whole_paths, st.booleans())
def test_the_original_comes_back(data: bytes, path: list[int], odd: bool) -> None:
    source = with_odd_padding(data) if odd else data
    assert restored(patched(source, LayerPath.of(path))) == source


@unhurried
@given(models(), st.lists(st.randoms(use_true_random=False), min_size=2, max_size=4), st.booleans())
def test_through_several_patches(data: bytes, draws: list[random.Random], odd: bool) -> None:
    source = file = with_odd_padding(data) if odd else data
    n_blocks, paths = N_BLOCKS, []
    for rng in draws:
        path = [0, *rng.sample(range(n_blocks), n_blocks), rng.randrange(n_blocks)]
        paths.append(LayerPath.of(path))
        file, n_blocks = patched(file, paths[-1]), len(path)
    plan = plan_restore(opened(file))
    assert run(plan.write_plan, file) == source
    assert plan.undone == tuple(reversed(paths))
    assert plan.restored.header == opened(source).header
    assert not plan.remaining


@unhurried
@given(tables(), st.lists(st.integers(0, 4), max_size=5), st.lists(st.integers(0, 9), max_size=5))
def test_slices_come_back_through_two_patches(
    drawn: Tables, more: list[int], again: list[int]
) -> None:
    source = with_odd_padding(drawn.model)
    first = LayerPath.of([1, 0, 3, 2, 4, *more])
    once = patched(source, first)
    n_blocks = len(first)
    second = LayerPath.of([*reversed(range(n_blocks)), *(block % n_blocks for block in again)])
    twice = patched(once, second)
    assert restored(once) == source
    assert restored(twice) == source


SMALL_N_BYTES = 3 << 20
"""Of the data of a model that is patched and restored as bytes; of others, plans are composed."""


@pytest.mark.parametrize("share", range(4))
def test_every_architecture(share: int) -> None:
    outcomes = Counter[str]()
    for path in sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))[share::4]:
        rng = random.Random(path.stem)
        file = with_data(path.read_bytes())
        is_small = file.layout.data_n_bytes < SMALL_N_BYTES
        outcomes.update(comes_back(file, path.read_bytes(), rng, is_small) for _ in range(3))
    assert outcomes["planned"] + outcomes["bytes"] > 60
    assert outcomes["bytes"] >= 3


def with_data(start: bytes) -> GgufFile:
    """A model, of which only what precedes the data is there."""
    header, n_bytes = parse_header(start, "memory")
    last = header.tensors[-1]
    size = tensor_n_bytes(last.dims, last.type_id)
    assert size is not None
    layout = lay_out(header, n_bytes, len(start) + last.offset_in_data + size, "memory")
    digest = hashlib.sha256(start[:n_bytes]).hexdigest()
    return GgufFile(Path("memory"), header, n_bytes, digest, layout)


def comes_back(file: GgufFile, start: bytes, rng: random.Random, is_small: bool) -> str:
    """Patch along a random path that loses no block, and restore, unless that is refused."""
    n_blocks = find_blocks(file).n_trunk
    first, end = sorted(rng.sample(range(n_blocks + 1), 2))
    blocks = [*range(end), *range(first, n_blocks)]
    if rng.random() < 0.3:
        rng.shuffle(blocks)
    try:
        plan = plan_patch(file, LayerPath.of(blocks)).write_plan
    except RefusedError:
        return "refused"
    if is_small:
        source = start + rng.randbytes(file.layout.n_bytes - len(start))
        assert restored(run(plan, source)) == source
        return "bytes"
    header, n_bytes = parse_header(plan.header, "patched")
    layout = lay_out(header, n_bytes, plan.n_bytes, "patched")
    back = plan_restore(GgufFile(Path("patched"), header, n_bytes, "", layout)).write_plan
    assert back.header == start[: file.header_n_bytes]
    assert_copies_all(compose(plan, back), file)
    return "planned"


def assert_copies_all(plan: WritePlan, source: GgufFile) -> None:
    """A plan writes the bytes of `source` in their order; zeros only where it has padding."""
    at = len(plan.header)
    for span in plan.spans:
        if isinstance(span, ZeroSpan):
            assert span.n_bytes < source.header.alignment
        else:
            assert isinstance(span, CopySpan | GatherSpan)
            assert span.offset_in_file == at
        if isinstance(span, GatherSpan):
            taken = [n for offset, size in span.pieces for n in range(offset, offset + size)]
            assert taken == list(range(span.row_n_bytes))
        at += span.n_bytes
    assert at == source.layout.n_bytes


def changed(data: bytes, key: str, value: str | int | None) -> bytes:
    """The file with another value of a key of its record, or without it."""
    file = opened(data)
    pairs: list[KeyValue] = []
    for pair_ in file.header.pairs:
        if pair_.key != key:
            pairs.append(pair_)
        elif value is not None:
            kind = ValueType.STRING if isinstance(value, str) else ValueType.UINT64
            pairs.append(make_pair(key, kind, encode_value(kind, value, "<"), "<"))
    old = file.header
    header = serialize_header(Header(old.version, old.byte_order, tuple(pairs), old.tensors))
    padding = bytes(pad(len(header), old.alignment) - len(header))
    return header + padding + data[file.layout.data_start :]


def refusal(data: bytes) -> str:
    with pytest.raises(RefusedError) as refused:
        plan_restore(opened(data))
    return f"{refused.value} {refused.value.hint}"


def test_what_cannot_be_restored_is_refused_with_the_reason() -> None:
    model = llama_model(4)
    repeated = patched(model, LayerPath.of([0, 1, 1, 2, 3]))
    assert "records no patch" in refusal(model)
    dropped = patched(model, LayerPath.of([0, 0, 3]))
    assert "0,0,3 leaves out block 1..2 of 4" in refusal(dropped)
    for key in ("layer_path.kept_padding", "layer_path.removed_at"):
        older = changed(repeated, key, None)
        assert "an older version" in refusal(older)
        with pytest.raises(RefusedError, match="an older version"):
            find_ingredients(opened(older))
    assert "another program" in refusal(changed(repeated, "general.architecture", "other")).lower()


DAMAGED = {
    "blocks": ("", "0..", "9", "0..99999,0..99999", "0,1,2,3", "0..1,1..3,4"),
    "kept_padding": ("1", "1+2+3", "a+b", "-1+2", "99999999999999999999+1", "0+1", "1+999999999"),
    "removed_at": ("1", "9" * 19, "x", "1,2", "1+1", ","),
    "source_n_bytes": (0, 1, 10**12),
    "source_header_sha256": ("0" * 64, ""),
    "replaced_pairs": ("text", 7, None),
}


@pytest.mark.parametrize("key", DAMAGED)
def test_a_damaged_record_is_refused(key: str) -> None:
    model = llama_model(4)
    repeated = patched(model, LayerPath.of([0, 1, 1, 2, 3]))
    assert restored(repeated) == model
    for value in DAMAGED[key]:
        assert refusal(changed(repeated, f"layer_path.{key}", value)), value


def test_padding_that_is_kept_must_be_padding() -> None:
    source = with_odd_padding(llama_model(4))
    repeated = patched(source, LayerPath.of([0, 1, 1, 2, 3]))
    kept = str(opened(repeated).header.get("layer_path.kept_padding"))
    offset, _, n_bytes = kept.partition("+")
    assert restored(repeated) == source
    for other in (f"{offset}+{int(n_bytes) - 1}", f"{int(offset) + 1}+{n_bytes}", f"0+{n_bytes}"):
        assert "damaged" in refusal(changed(repeated, "layer_path.kept_padding", other))


def test_what_follows_the_data_must_have_its_size() -> None:
    repeated = patched(llama_model(4), LayerPath.of([0, 1, 1, 2, 3]))
    assert "source_n_bytes" in refusal(repeated + b"appended")


def test_an_earlier_patch_that_lost_blocks_stays() -> None:
    dropped = patched(llama_model(4), LayerPath.of([0, 1, 3]))
    plan = plan_restore(opened(patched(dropped, LayerPath.of([0, 1, 1, 2]))))
    assert "leaves out block 2 of 4" in plan.remaining
    assert plan.restored.header == opened(dropped).header


def test_keys_that_another_program_put_behind_the_record_keep_their_place() -> None:
    """The first patch has a key in its record that the second one lacks."""
    pairs = [pair("general.architecture", STRING, "gemma2"), pair("gemma2.block_count", U32, 6)]
    source = gguf(pairs, block_tensors(6))
    once = patched(source, LayerPath.of([0, 0, 1, 2, 3, 4, 5]))
    file = opened(once)
    assert file.header.pairs[-2].key == "layer_path.added_keys"
    more = make_pair("other.key", ValueType.STRING, encode_value(ValueType.STRING, "x", "<"), "<")
    header = replace(file.header, pairs=(*file.header.pairs, more))
    raw = serialize_header(header)
    once = raw + bytes(pad(len(raw), 32) - len(raw)) + once[file.layout.data_start :]
    twice = patched(once, LayerPath.of([0, 1, *range(7)]))
    assert opened(twice).header.get("layer_path.added_keys") is None
    assert run(plan_restore(opened(twice)).write_plan, twice) == once


def test_a_chain_without_end_is_cut() -> None:
    file = source = llama_model(2)
    for _ in range(MOST_PATCHES + 1):
        file = patched(file, LayerPath.of([1, 0]))
    plan = plan_restore(opened(file))
    assert len(plan.undone) == MOST_PATCHES
    assert "32 patches" in plan.remaining
    assert restored(run(plan.write_plan, file)) == source
