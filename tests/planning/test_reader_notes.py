"""Notes of what some programs read wrong, or copy wrong."""

from __future__ import annotations

import pytest

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.rules.whole_models.reader_limits import OTHER_ALIGNMENT
from tests.models.builders import U32, block_tensors, gguf, llama_pairs, pair
from tests.models.in_memory import opened


@pytest.mark.parametrize("path", ["0..2,1..2", "0,1:1..2"])
@pytest.mark.parametrize("alignment", [8, 32, 64, 4096])
def test_an_alignment_that_is_not_32_is_told(alignment: int, path: str) -> None:
    named = pair("general.alignment", U32, alignment)
    data = gguf(llama_pairs(3, named), block_tensors(3), alignment=alignment)
    other = gguf(llama_pairs(3), block_tensors(3))
    notes = plan_patch(opened(data), LayerPath(path), others=[opened(other)]).notes
    wanted = [] if alignment == 32 else [OTHER_ALIGNMENT.format(alignment)]
    assert [note for note in notes if "aligned to" in note] == wanted


def test_a_file_that_names_no_alignment_has_that_of_gguf() -> None:
    plain = opened(gguf(llama_pairs(3), block_tensors(3)))
    assert plan_patch(plain, LayerPath("0..2,1..2")).notes == ()
