"""A model with other MTP blocks, or none: its pairs and tensors against the files that it is of.

Written against the format, not against what makes such a model, as the other checks of structure.
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import UsageError
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.mtp_change.planning import recorded_mtp
from ggufsurgeon.planning.provenance import PREFIX
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.tensor_names import PREFIX as TENSOR_LISTS
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.structures.structure import MAY_CHANGE


def check_is_of_donor(patched: GgufFile, donor: GgufFile) -> None:
    """Raise UsageError unless MTP blocks of a file were taken from another, by its record."""
    recorded = recorded_mtp(patched)
    if recorded is not None and recorded[0] != NO_MTP:
        return
    what = "its source's own" if recorded is None else "left out"
    raise UsageError(
        f"the MTP blocks of {patched.path} are {what}, by its record, so that none are of "
        f"{donor.path}",
        hint="Omit that file.",
    )


def check_mtp_blocks(changed: GgufFile, source: GgufFile, donor: GgufFile | None) -> Check:
    """`changed` is `source` without its MTP blocks, or with those of `donor`, and nothing else."""
    wrong = [*_wrong_pairs(changed, source, donor), *_wrong_tensors(changed, source, donor)]
    n_mtp = find_blocks(changed).n_mtp
    detail = f"{n_mtp} of {donor.path}" if donor else "left out"
    if wrong:
        detail = f"not as they should be: {', '.join(map(shortened, wrong[:5]))}"
    proven = f"{n_mtp} MTP blocks of another file" if donor else ""
    return Check("MTP blocks", not wrong, detail, proven)


def _wrong_pairs(changed: GgufFile, source: GgufFile, donor: GgufFile | None) -> Iterator[str]:
    """Keys that are neither as in the source, nor what other MTP blocks make of them."""
    ours, found = source.header.pair_of, changed.header.pair_of
    theirs = {} if donor is None else donor.header.pair_of
    n_trunk, prefix = find_blocks(source).n_trunk, f"{source.header.architecture}."
    n_mtp = 0 if donor is None else len(find_blocks(changed)) - n_trunk
    counts = {f"{prefix}block_count": n_trunk + n_mtp, f"{prefix}nextn_predict_layers": n_mtp}
    for key in dict.fromkeys((*ours, *found)):
        if key.startswith((PREFIX, TENSOR_LISTS)) or key in MAY_CHANGE or key in SPLIT_KEYS:
            continue
        before, after = ours.get(key), found.get(key)
        if key in counts:
            if after is None or after.value != counts[key]:
                yield key
        elif (
            before is None
            or after is None
            or (
                after.raw != before.raw
                and not (
                    _begins_alike(before, after, n_trunk)
                    and (
                        after.raw == theirs[key].raw if key in theirs else _length(after) == n_trunk
                    )
                )
            )
        ):
            yield key


def _begins_alike(one: KeyValue, other: KeyValue, n_elements: int) -> bool:
    values = [pair.value[:n_elements] for pair in (one, other) if isinstance(pair.value, list)]
    return len(values) == 2 and repr(values[0]) == repr(values[1])


def _length(pair: KeyValue) -> int:
    return len(pair.value) if isinstance(pair.value, list) else 0


def _wrong_tensors(changed: GgufFile, source: GgufFile, donor: GgufFile | None) -> Iterator[str]:
    """Tensors that are missing, left over, or of another shape or type."""
    n_trunk = find_blocks(source).n_trunk
    expected = {
        tensor.name: (tensor.dims, tensor.type_id)
        for tensor in source.header.tensors
        if (block := block_of(tensor.name)) is None or block < n_trunk
    }
    for tensor in donor.header.tensors if donor else ():
        if (block := block_of(tensor.name)) is not None and block >= n_trunk:
            expected[tensor.name] = tensor.dims, tensor.type_id
    found = {tensor.name: (tensor.dims, tensor.type_id) for tensor in changed.header.tensors}
    yield from (name for name in {**expected, **found} if expected.get(name) != found.get(name))
