"""What a GGUF is that is no whole language model: a companion of one, a part, another model."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.whole_models.media_models import kind_of_media


class FileKind(NamedTuple):
    """A kind of file: what it is, why it has no layer path, and what to do instead."""

    what: str
    why: str
    instead: str
    may_run: bool = False
    """Whether llama.cpp may run it as it is."""


OWN_PATH = "it has no layer path of its own"
PROJECTOR = FileKind(
    "a projector of images or sound (mmproj)",
    OWN_PATH,
    "Patch the language model that it belongs to; it fits the patched model as it is.",
)
DRAFT = FileKind(
    "a draft of another model, some of whose blocks it reads by their numbers",
    OWN_PATH,
    "Patch that model, and take the draft along with patch-companion.",
)
OF_TYPE = {
    "adapter": FileKind(
        "an adapter (LoRA) for the blocks of another model",
        OWN_PATH,
        "Patch that model, and take the adapter along with patch-companion.",
    ),
    "imatrix": FileKind(
        "an importance matrix (imatrix) for the weights of another model",
        OWN_PATH,
        "Patch that model, and take the imatrix along with patch-companion.",
    ),
    "mmproj": PROJECTOR,
}
"""Companions by `general.type` (gguf-py/gguf/constants.py:489-493)."""
OF_ARCHITECTURE = {
    "clip": PROJECTOR,
    "controlvector": FileKind(
        "a set of control vectors, one for each block of another model",
        OWN_PATH,
        "Patch that model, and take the vectors along with patch-companion.",
    ),
    "dflash": DRAFT,
    "eagle3": DRAFT,
    "gemma4-assistant": DRAFT,
}
"""Companions by `general.architecture`, whatever the type is."""
VOCABULARY = FileKind(
    "a vocabulary alone",
    "it has no tensors, so no blocks",
    "Patch the model that it is the vocabulary of.",
)
CONVERTED_ANEW = (
    "Download a GGUF of the same model that was made with llama.cpp's converter, from Hugging Face "
    "for instance"
)
NOT_LOADED = "llama.cpp does not load it (wrong number of tensors), nor would it load a patched one"
OLLAMA_ARCHITECTURES = frozenset({"deepseekocr", "glmocr", "gptoss", "mllama", "qwen25vl"})
"""Names that Ollama's converters write and llama.cpp does not know (ollama, convert/*.go)."""


def other_kind(header: Header) -> FileKind | None:
    """What a file is that is not one whole language model; None for one that seems to be."""
    return _companion(header) or _of_ollama(header) or _without_blocks(header)


def _companion(header: Header) -> FileKind | None:
    kind = header.get("general.type")
    if kind is None and "adapter.type" in header.pair_of:
        kind = "adapter"
    found = OF_TYPE.get(str(kind)) or OF_ARCHITECTURE.get(str(header.architecture))
    if found is None and kind not in (None, "model"):
        what = f"of type {quoted(kind)}, not a model"
        return FileKind(what, "it has no layer path", "", may_run=True)
    return found


def _of_ollama(header: Header) -> FileKind | None:
    """A language model as Ollama's converters alone write it.

    llama.cpp refuses files with tensors that it does not ask for (`done_getting_tensors`,
    src/llama-model-loader.cpp). Ollama's converters write vision tensors as `v.`, `mm.` and
    `s.`, sound as `a.blk.` (convert/convert_gemma3.go, convert_gemma4.go, convert_deepseekocr.go),
    and MTP blocks as `mtp.`, beside the language model's; llama.cpp asks for `mm.a.` itself, and no
    name in it begins with `s.` or `mtp.` (src/llama-arch.cpp).
    """
    strange = next((t.name for t in header.tensors if _is_strange(t.name)), None)
    if strange is not None and strange.startswith("mtp.") and _has_blocks(header):
        return FileKind(
            f"a model with its MTP blocks apart from the others ({shortened(strange)}), as "
            "Ollama's own conversions are",
            NOT_LOADED,
            f"{CONVERTED_ANEW}.",
        )
    if strange is not None and _has_blocks(header):
        return FileKind(
            f"a model with its vision or sound part in the same file ({shortened(strange)}), as "
            "Ollama's own conversions are",
            NOT_LOADED,
            f"{CONVERTED_ANEW}: what reads images is a file of its own there (mmproj), and fits "
            "the patched model as it is.",
        )
    if header.architecture in OLLAMA_ARCHITECTURES:
        return FileKind(
            f"a conversion of Ollama's own{_named(header)}",
            "llama.cpp does not know that architecture",
            f"{CONVERTED_ANEW}.",
        )
    return None


def _is_strange(name: str) -> bool:
    return name.startswith(("v.", "mm.", "s.", "a.blk.", "mtp.")) and not name.startswith("mm.a.")


def _without_blocks(header: Header) -> FileKind | None:
    """A file in which no tensor belongs to a block of a language model."""
    if _has_blocks(header):
        return None
    media = kind_of_media(header)
    if media is not None:
        return FileKind(
            f"{media}{_named(header)}",
            "this program is about language models",
            "",
        )
    if not header.tensors and "tokenizer.ggml.model" in header.pair_of:
        return VOCABULARY
    if header.architecture is None or header.architecture in ARCHITECTURES:
        return None
    return FileKind(
        f"no language model that llama.cpp knows{_named(header)}",
        "no tensor of it is in a block (blk.0, blk.1, ...)",
        "",
    )


def _has_blocks(header: Header) -> bool:
    return any(block_of(tensor.name) is not None for tensor in header.tensors)


def _named(header: Header) -> str:
    return "" if header.architecture is None else f" (architecture {quoted(header.architecture)})"
