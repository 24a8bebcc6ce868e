"""Does a file with MTP blocks belong to a model, and which pairs go with these blocks?

MTP blocks read the residual stream of the trunk and the embeddings, so that those of a file fit
the same model, in whatever types its tensors are. That it is the same model is found by what both
files say of it: every key of the architecture, and the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import (
    SCALAR_WIDTHS,
    ValueType,
    read_array_prefix,
    take_elements,
)
from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.planning.provenance import PREFIX
from ggufsurgeon.rules.blocks import Blocks, block_count_key
from ggufsurgeon.rules.mixtures.same_tokens import check_same_tokens
from ggufsurgeon.rules.mtp_blocks import MTP, mtp_count_key
from ggufsurgeon.rules.tensor_names import NAMES

QUANTIZATION_VERSION = "general.quantization_version"
EMBEDDINGS = "token_embd.weight"
OF_TOKENS = ("nextn.embed_tokens.weight", "nextn.shared_head_head.weight")
"""What an MTP block may have in place of the model's own embeddings and output."""


def check_donor(source: GgufFile, blocks: Blocks, donor: GgufFile, mtp: Blocks) -> None:
    """Raise RefusedError unless the MTP blocks of `donor` fit `source`, as far as can be told.

    `mtp` are the blocks of the donor, of which those of the trunk may be empty.
    """
    for what, ours, theirs in (
        ("architecture", source.header.architecture, donor.header.architecture),
        ("byte order", source.header.byte_order, donor.header.byte_order),
        ("number of blocks before MTP blocks", blocks.n_trunk, mtp.n_trunk),
    ):
        if ours != theirs:
            raise _other_model(what, quoted(ours), source, quoted(theirs), donor)
    versions = [file.header.get(QUANTIZATION_VERSION) for file in (source, donor)]
    if None not in versions and versions[0] != versions[1]:
        shown = [quoted(version) for version in versions]
        raise _other_model(QUANTIZATION_VERSION, shown[0], source, shown[1], donor)
    check_same_tokens(donor, source)
    _check_tokens_of_tensors(source, donor, mtp)
    listed = donor.header.get(NAMES)
    of_mtp = {donor.header.tensors[n].name for block in mtp.of_block[mtp.n_trunk :] for n in block}
    if isinstance(listed, list) and not of_mtp.isdisjoint(map(str, listed)):
        raise RefusedError(
            f"{donor.path} lists tensors of its MTP blocks in {NAMES}, which this version cannot "
            f"copy"
        )


def pairs_of_donor(source: GgufFile, n_trunk: int, donor: GgufFile) -> Iterator[KeyValue]:
    """The pairs of the donor that say what its MTP blocks are.

    These are the two numbers of blocks, and arrays that differ behind the elements of the trunk.
    Raises RefusedError where the two models differ in anything else that llama.cpp reads.
    """
    prefix = f"{source.header.architecture}."
    ours, theirs = source.header.pair_of, donor.header.pair_of
    counts = (block_count_key(source.header), mtp_count_key(source.header))
    keys = dict.fromkeys((*ours, *theirs))
    for key in (key for key in keys if key.startswith(prefix)):
        one, other = ours.get(key), theirs.get(key)
        if one is not None and other is not None and one.raw == other.raw:
            continue
        if other is not None and (key in counts or _same_for_trunk(one, other, n_trunk)):
            yield other
            continue
        raise _other_model(key, _shown(one), source, _shown(other), donor)


def _same_for_trunk(one: KeyValue | None, other: KeyValue, n_trunk: int) -> bool:
    """Whether two arrays have the same elements for the blocks of the trunk."""
    elements = [_elements(pair, n_trunk) for pair in (one, other) if pair is not None]
    return len(elements) == 2 and None not in elements and elements[0] == elements[1]


def _elements(pair: KeyValue, n_trunk: int) -> bytes | None:
    """The first elements of an array of numbers, as an array; None where there are too few."""
    if pair.value_type != ValueType.ARRAY:
        return None
    kind, count = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
    if kind not in SCALAR_WIDTHS or count < n_trunk:
        return None
    return take_elements(pair.raw, pair.value_at, pair.byte_order, range(n_trunk))


def _check_tokens_of_tensors(source: GgufFile, donor: GgufFile, mtp: Blocks) -> None:
    """Raise RefusedError where a block has embeddings of its own for more or fewer tokens."""
    embeddings = next((t for t in source.header.tensors if t.name == EMBEDDINGS), None)
    for block in mtp.of_block[mtp.n_trunk :]:
        for tensor in (donor.header.tensors[index] for index in block):
            is_of_tokens = tensor.name.endswith(OF_TOKENS)
            if embeddings is not None and is_of_tokens and tensor.dims != embeddings.dims:
                what = f"size of {EMBEDDINGS} and {shortened(tensor.name)}"
                raise _other_model(what, _dims(embeddings), source, _dims(tensor), donor)


def _dims(tensor: TensorInfo) -> str:
    return "x".join(map(str, tensor.dims))


def _shown(pair: KeyValue | None) -> str:
    return "absent" if pair is None else quoted(pair.value)


def _other_model(
    what: str, ours: str, source: GgufFile, theirs: str, donor: GgufFile
) -> RefusedError:
    hint = "Take them from a file of the same model, in any quantization."
    path = source.header.get(f"{PREFIX}blocks")
    if isinstance(path, str):
        hint = (
            f"{source.path} is a patched file: patch its original along {shortened(path)}, with "
            "the MTP blocks of a file of the same model."
        )
    return RefusedError(
        f"{shortened(what)} is {ours} in {source.path} and {theirs} in {donor.path}: the {MTP} "
        "blocks are of another model",
        hint=hint,
    )
