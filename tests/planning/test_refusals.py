"""What cannot be made exact, or is not whole, is refused before anything is planned."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.rules.whole_models.file_kinds import OF_ARCHITECTURE, OF_TYPE
from tests.models.builders import (
    ARRAY,
    BOOL,
    I32,
    STRING,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)
from tests.models.in_memory import opened, patched_header

REPEAT = [0, 1, 1, 2]
ARCHITECTURE = pair("general.architecture", STRING, "llama")
UNHEARD = [pair("general.architecture", STRING, "unheard"), pair("unheard.block_count", U32, 3)]


class Case(NamedTuple):
    """A model, a path over it, and what is wrong."""

    says: str
    data: bytes
    path: list[int] = REPEAT


def of_type(kind: str) -> bytes:
    return llama_model(3, pair("general.type", STRING, kind))


def of_architecture(name: str) -> bytes:
    return gguf([pair("general.architecture", STRING, name)], [Tensor("direction.1")])


def listing(names: list[str], prec_a4: list[int]) -> bytes:
    return llama_model(
        3,
        pair("general.tensor_extra.name", ARRAY, (STRING, names)),
        pair("general.tensor_extra.prec_a4", ARRAY, (BOOL, prec_a4)),
    )


def array(key: str, *items: int) -> bytes:
    return llama_model(3, pair(key, ARRAY, (U32, list(items))))


MALFORMED = [
    Case("llama.block_count is missing", gguf([ARCHITECTURE], block_tensors(3))),
    Case(
        "expected a UINT32",
        gguf([ARCHITECTURE, pair("llama.block_count", I32, 3)], block_tensors(3)),
    ),
    Case("block 1 has no tensors", gguf(llama_pairs(3), block_tensors(3, skip=[1]))),
    Case("block 3 has no tensors", gguf(llama_pairs(2**32 - 1), block_tensors(3))),
    Case("block 0 has no tensors", gguf(llama_pairs(3))),
    Case("block 2 is beyond it", gguf(llama_pairs(2), block_tensors(3)), [0, 1, 1]),
    Case("general.architecture is missing", gguf([], block_tensors(3))),
    Case("of 3 blocks, 3 are MTP", llama_model(3, pair("llama.nextn_predict_layers", U32, 3))),
    Case("of 3 blocks, -1 are MTP", llama_model(3, pair("llama.nextn_predict_layers", I32, -1))),
]

REFUSED = [
    Case("'unheard' is not in this version's table", gguf(UNHEARD, block_tensors(3))),
    Case("an adapter .LoRA. for the blocks", of_type("adapter")),
    Case(
        "an importance matrix .imatrix. for the weights",
        gguf([pair("general.type", STRING, "imatrix")]),
    ),
    Case("a projector of images or sound", of_type("mmproj")),
    Case("a projector of images or sound", of_architecture("clip")),
    Case("a set of control vectors", of_architecture("controlvector")),
    Case("a draft of another model", of_architecture("eagle3")),
    Case("a draft of another model", of_architecture("dflash")),
    Case("a draft of another model", of_architecture("gemma4-assistant")),
    Case("'odd', not a model", of_type("odd")),
    Case(
        "a vocabulary alone",
        gguf(llama_pairs(3, pair("tokenizer.ggml.model", STRING, "llama"))),
    ),
    Case("name is not a list of strings", array("general.tensor_extra.name", 1)),
    Case("prec_a4 is not an array of 1", listing(["blk.1.ffn.weight"], [1, 0])),
    Case("does not know", array("llama.odd", 1, 2, 3)),
    Case("2 elements for 3 blocks", array("llama.attention.head_count", 1, 2)),
    Case("would become block 0", array("llama.attention.head_count_kv", 1, 2, 1), [1, 2]),
    Case("llama.cpp does not run more than 512", llama_model(3), [0] * 513),
    Case("more than 63 bytes", gguf(llama_pairs(1), [Tensor(f"blk.0.{'x' * 57}")]), [0] * 11),
]


def check(kind: type[GgufSurgeonError], case: Case) -> None:
    with pytest.raises(kind, match=case.says):
        plan_patch(opened(case.data), LayerPath.of(case.path))


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.says)
def test_what_is_not_whole_is_malformed(case: Case) -> None:
    check(MalformedFileError, case)


@pytest.mark.parametrize(
    "data", [of_type(name) for name in OF_TYPE] + [of_architecture(n) for n in OF_ARCHITECTURE]
)
def test_a_companion_file_is_told_what_to_do_instead(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        plan_patch(opened(data), LayerPath.of([0]))
    assert caught.value.hint


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_what_cannot_be_exact_is_refused(case: Case) -> None:
    check(RefusedError, case)


def test_tensors_listed_by_name_follow_the_path_with_what_is_said_of_them() -> None:
    names = ["output_norm.weight", "blk.2.ffn.weight", "blk.1.ffn.weight", "blk.0.ffn.weight"]
    data = listing(names, [1, 0, 1, 1])
    header = patched_header(data, LayerPath.of([1, 2, 1]))
    assert header.get("general.tensor_extra.name") == [
        "output_norm.weight",
        "blk.1.ffn.weight",
        "blk.0.ffn.weight",
        "blk.2.ffn.weight",
    ]
    assert header.get("general.tensor_extra.prec_a4") == [True, False, True, True]
    assert {tensor.name for tensor in header.tensors} >= set(names[:3])


def test_what_is_known_to_be_no_array_of_blocks_stays() -> None:
    data = llama_model(
        3,
        pair("llama.rope.dimension_sections", ARRAY, (U32, [1, 2, 3])),
    )
    header = patched_header(data, LayerPath.of([0, 1, 1, 2]))
    assert header.get("llama.rope.dimension_sections") == [1, 2, 3]
