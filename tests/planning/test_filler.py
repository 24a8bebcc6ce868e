"""The data of a patched file starts where that of its source does, but for whole blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.provenance import FILE_SYSTEM_BLOCK_N_BYTES, FILLER
from tests.models.builders import STRING, U32, block_tensors, gguf, llama_pairs, pair
from tests.models.in_memory import opened, run


@given(
    st.sampled_from((8, 32, 64, 4096, 16384)),
    st.integers(0, 9000),
    st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_the_data_starts_alike(alignment: int, n_bytes: int, more: list[int]) -> None:
    """Also of a file that is patched again, whose own filler is replaced."""
    keys = (pair("general.alignment", U32, alignment), pair("x", STRING, "x" * n_bytes))
    source = gguf([*llama_pairs(3), *keys], block_tensors(3), alignment=alignment)
    for path in (LayerPath.of([0, 1, 2, *more]), LayerPath.of([0, 1, 2, *more, 1])):
        plan = plan_patch(opened(source), path).write_plan
        patched = run(plan, source)
        starts = [opened(file).layout.data_start for file in (source, patched)]
        assert len({start % FILE_SYSTEM_BLOCK_N_BYTES for start in starts}) == 1
        assert len(opened(patched).header.get(FILLER)) <= FILE_SYSTEM_BLOCK_N_BYTES  # type: ignore[arg-type]
        source = patched
