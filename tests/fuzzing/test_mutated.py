"""The laws, checked with mutated files, and tests of the mutator itself."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufsurgeon.errors import GgufSurgeonError, RefusedError
from ggufsurgeon.planning.originals.restoring import plan_restore
from tests.fuzzing.fields import Fields
from tests.fuzzing.keeping import lines_run, smallest_cover
from tests.fuzzing.mending import laid_out, patched, signed, unfilled
from tests.fuzzing.mutating import CHANGES, Mutator
from tests.fuzzing.seeds import donors, models
from tests.fuzzing.targets import FILES, TEXTS, header, layers
from tests.models.builders import llama_model
from tests.models.in_memory import opened, run
from tests.models.strategies import files

MODELS = tuple(models())
mutate = Mutator(donors())
seeds = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40)
@given(st.sampled_from(MODELS) | files(), seeds)
def test_laws_hold_for_changed_files(name: str, data: bytes, changes: list[int]) -> None:
    for seed in changes:
        data = mutate(data, seed)
    FILES[name](data)


@pytest.mark.parametrize("name", ["shards", "diffing"])
@settings(max_examples=40)
@given(st.sampled_from(MODELS), st.sampled_from(MODELS), seeds)
def test_laws_hold_for_two_files(
    name: str, first: bytes, second: bytes, changes: list[int]
) -> None:
    for seed in changes:
        first = mutate(first, seed)
    FILES[name](first + second)


@pytest.mark.parametrize("name", TEXTS)
@given(st.binary() | st.text("0123456789.,:- \nabrcepthsuo#").map(str.encode))
def test_laws_hold_for_any_text(name: str, data: bytes) -> None:
    TEXTS[name](data)


def test_the_same_seed_makes_the_same_file() -> None:
    assert mutate(MODELS[0], 5) == mutate(MODELS[0], 5)
    assert len({mutate(MODELS[0], seed) for seed in range(50)}) > 40


def test_many_changed_files_can_be_read_and_planned() -> None:
    """Else fuzzing would try the first checks alone."""
    found = Counter(is_readable(mutate(llama_model(3), seed)) for seed in range(300))
    assert found[True] > 60 < found[False]


def is_readable(data: bytes) -> bool:
    try:
        opened(data)
    except GgufSurgeonError:
        return False
    return True


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_change_changes_something(change: object) -> None:
    assert callable(change)
    fields, others = Fields(MODELS[1]), [Fields(data) for data in MODELS]
    changed = {change(random.Random(seed), fields, others) for seed in range(40)}
    assert len(changed - {fields.data}) > 5


@given(files())
def test_the_fields_cover_a_header(data: bytes) -> None:
    """All numbers, strings and elements are found, whatever the byte order."""
    fields = Fields(data)
    assert fields.is_whole
    assert laid_out(data) == data or not fields.tensors
    spans = [*fields.numbers, *(text.content for text in fields.texts)]
    spans += [array.content for array in fields.arrays]
    assert 4 + sum(span.end - span.start for span in spans) == fields.at


def test_a_forged_record_is_followed() -> None:
    """Anybody can compute its SHA-256: code after that check must not rely on it."""
    good = patched(llama_model(3), [0, 1, 1, 2])
    forged = good.replace(b"Tiny\x11", b"Tinx\x11", 1)
    assert forged != good and signed(good) == good
    with pytest.raises(RefusedError, match="SHA-256"):
        plan_restore(opened(forged))
    assert plan_restore(opened(signed(forged))).undone


def test_lines_that_an_input_runs() -> None:
    assert not lines_run(lambda data: None, b"")
    assert len(lines_run(header, MODELS[0])) > len(lines_run(header, b"GGUF")) > 0
    kept = list(smallest_cover(layers, [b"0..3", b"0..4", b"7", b"x"], set()))
    assert b"0..4" not in kept and b"x" in kept


def test_the_filler_is_no_part_of_the_record() -> None:
    filled = patched(llama_model(3), [0, 1, 1, 2])
    small = unfilled(filled)
    assert len(small) < len(filled)
    assert run(plan_restore(opened(small)).write_plan, small) == llama_model(3)
