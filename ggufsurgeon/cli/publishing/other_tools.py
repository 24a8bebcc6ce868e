"""A layer path printed for another tool, with what that tool does not do by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ggufsurgeon.cli.output.terminal import print_json, print_text
from ggufsurgeon.layer_path.other_tools import PLACEHOLDER, OtherTool, in_notation_of

if TYPE_CHECKING:
    from ggufsurgeon.planning.originals.original_path import OriginalPath

USES = {
    OtherTool.MERGEKIT: f"A mergekit configuration: replace {PLACEHOLDER} by the checkpoint that "
    "the original GGUF was converted from, and run mergekit-yaml.",
    OtherTool.EXLLAMAV3: "For -layer_map of exllamav3's programs, with an EXL3 checkpoint of the "
    "original.",
    OtherTool.RYS: "For --spec of RYS's hf_export/export_model.py, with the checkpoint that the "
    "original GGUF was converted from.",
    OtherTool.LLM_CIRCUIT_FINDER: "For -p of llm-circuit-finder's layer_path.py, with the original "
    "GGUF.",
}
USE_OF_SEVERAL = (
    f"A mergekit configuration: replace {PLACEHOLDER}_0 and so on by the checkpoints that the "
    "GGUFs with these numbers in the layer path were converted from, and run mergekit-yaml."
)
TOKENS = (
    "mergekit puts the rows of the embeddings and of the output head into the order of this "
    "tokenizer; the GGUF keeps their order. The results agree if the vocabularies are the same."
)
TIED = (
    "If the checkpoint of the last block's model has no lm_head.weight, because its embeddings are "
    "tied, mergekit writes no output head of that model: copy the embeddings there as "
    "lm_head.weight first, and set tie_word_embeddings to false in the result."
)
WRITES_CONFIG = (OtherTool.MERGEKIT, OtherTool.LLM_CIRCUIT_FINDER)
"""These set the number of blocks and leave settings of single blocks as they are."""


def print_for_tool(tool: OtherTool, found: OriginalPath, *, as_json: bool) -> None:
    """Print a layer path for `tool`, with comments on what else is to be done."""
    text, notes = in_notation_of(tool, found.layer_path, found.outside), list(_notes(tool, found))
    if as_json:
        path = str(found.layer_path)
        print_json({"tool": tool.value, "layer_path": path, "text": text, "notes": notes})
        return
    use = USE_OF_SEVERAL if found.models else USES[tool]
    for line in (f"# {use}", *(f"# {note}" for note in notes), *text.splitlines()):
        print_text(line)


def _notes(tool: OtherTool, found: OriginalPath) -> Iterator[str]:
    """What the tool does not do by itself for this model."""
    for number, digest in found.models.items():
        yield f"{PLACEHOLDER}_{number}: the GGUF whose header has the SHA-256 {digest}."
    if found.models:
        yield TOKENS
    if found.outside is not None and found.outside.embeddings != found.outside.output:
        yield TIED
    if found.kinds and tool in WRITES_CONFIG:
        kinds = "; ".join(found.kinds)
        yield (
            f"The blocks of this model are not all alike ({kinds}), and {tool.value} keeps the "
            "settings of each block where they were (layer_types, for instance): re-index them "
            "along the layer path by hand, or the result computes something else."
        )
    yield from _notes_on_mtp(tool, found)


def _notes_on_mtp(tool: OtherTool, found: OriginalPath) -> Iterator[str]:
    """Which MTP blocks the model has, since no tool has a notation for them."""
    from ggufsurgeon.planning.mtp_change.changing import NO_MTP

    if found.mtp == NO_MTP:
        yield (
            f"The MTP blocks of the original were left out, which {tool.value} does not do by "
            "itself: set their number in the result to 0."
        )
    elif found.mtp is not None:
        yield (
            f"The model has MTP blocks ({found.n_mtp}) of another GGUF, whose header has the "
            f"SHA-256 {found.mtp}, and {tool.value} has no notation for them: copy them from the "
            "checkpoint of that file behind the last block, or set their number to 0."
        )
    elif found.n_mtp:
        of = f" of {PLACEHOLDER}_{found.outside.output}" if found.outside is not None else ""
        yield (
            f"The model has MTP blocks ({found.n_mtp}){of}, which this layer path leaves out: copy "
            "them behind the last block, or set their number to 0."
        )
