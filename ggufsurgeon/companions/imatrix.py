"""Importance matrices in GGUF form: does one belong to a model?

For each weight there are the sums of squares of what it was multiplied with, `NAME.in_sum2`, and
how many rows were summed, `NAME.counts` (tools/imatrix/imatrix.cpp, save_imatrix); newer ones have
plain sums too, `NAME.in_sum`. llama-quantize looks them up by name and passes over what it does
not find.
"""

from __future__ import annotations

import math

from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.rules.block_names import block_of

SUMS = (".in_sum2", ".in_sum")
COUNTS = ".counts"
NOTE = (
    "its sums are those of the original's activations: a block that runs in another place sees "
    "others, which llama-imatrix can collect from the patched model"
)


def check_imatrix(imatrix: GgufFile, base: BaseModel, *, may_lack_blocks: bool = False) -> None:
    """Raise RefusedError where the imatrix was not made for `base`.

    `may_lack_blocks` allows one for some blocks of `base`, as one has that was made for one of the
    models that `base` was made from.

    Raises MalformedFileError for one that llama-quantize does not read.
    """
    names = {tensor.name for tensor in imatrix.header.tensors}
    for tensor in imatrix.header.tensors:
        suffix = next((end for end in (*SUMS, COUNTS) if tensor.name.endswith(end)), "")
        weight = tensor.name.removesuffix(suffix)
        if not suffix or f"{weight}{SUMS[0]}" not in names or f"{weight}{COUNTS}" not in names:
            raise MalformedFileError(
                str(imatrix.path),
                f"the tensor {quoted(tensor.name)} is not one of {SUMS[0]} and {COUNTS} of a "
                "weight",
            )
        _check_weight(imatrix, base, weight)
        if suffix in SUMS:
            _check_sums(imatrix, base, weight, math.prod(tensor.dims))
    covered = {block_of(name) for name in names}
    missing = next((n for n in range(base.blocks.n_trunk) if n not in covered), None)
    if missing is not None and not may_lack_blocks:
        raise RefusedError(
            f"{imatrix.path} has nothing on block {missing} of the {base.blocks.n_trunk} of "
            f"{base.file.path}: it was made for another model"
        )


def _check_weight(imatrix: GgufFile, base: BaseModel, weight: str) -> None:
    if weight not in base.dims_of:
        raise RefusedError(
            f"{imatrix.path} is about the weight {quoted(weight)}, which {base.file.path} does not "
            "have: it was made for another model"
        )


def _check_sums(imatrix: GgufFile, base: BaseModel, weight: str, n_found: int) -> None:
    """A sum for each column of each matrix of the weight."""
    n_columns, _, *n_matrices = base.dims_of[weight]
    n_expected = n_columns * math.prod(n_matrices)
    if n_found != n_expected:
        raise RefusedError(
            f"{imatrix.path} has {n_found:,} sums for {quoted(weight)}, and that weight of "
            f"{base.file.path} takes {n_expected:,}: it was made for another model"
        )
