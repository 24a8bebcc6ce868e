"""Tokens by SentencePiece over the vocabulary of a GGUF, to compare with those of llama.cpp.

llama.cpp's tokenizer "llama" (`LLAMA_VOCAB_TYPE_SPM`, src/llama-vocab.cpp:115-235) merges the pair
with the highest score first, which is SentencePiece's BPE whatever the vocabulary was trained as.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.errors import MalformedFileError, MissingExtraError

UNKNOWN, CONTROL, BYTE = 2, 3, 6
"""`enum llama_token_type`, include/llama.h; SentencePiece's own numbers."""


def is_sentencepiece(header: Header) -> bool:
    """Whether llama.cpp reads this vocabulary as SentencePiece's."""
    return header.get("tokenizer.ggml.model") == "llama"


def tokens_by_sentencepiece(path: Path, text: bytes) -> Integers:
    """Tokens of `text` without BOS and EOS, shape [n_tokens].

    Raises MissingExtraError without the package, MalformedFileError for a vocabulary that it
    does not take.
    """
    header = open_gguf(path).header
    try:
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor()
        processor.LoadFromSerializedProto(_model(header))
    except ImportError as error:
        raise MissingExtraError(
            f"the package sentencepiece cannot be imported ({error})",
            hint="pip install 'ggufsurgeon[tokens]'",
        ) from None
    except (RuntimeError, TypeError, ValueError) as error:
        problem = f"SentencePiece does not take its vocabulary: {error}"
        raise MalformedFileError(str(path), problem) from None
    return np.array(processor.encode(text.decode()), dtype=np.int32)


def _model(header: Header) -> bytes:
    """The vocabulary as SentencePiece's file format has it."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    names = ("tokens", "scores", "token_type")
    pieces, scores, types = (header.get(f"tokenizer.ggml.{name}") for name in names)
    if not (isinstance(pieces, list) and isinstance(scores, list) and isinstance(types, list)):
        raise ValueError("it has no tokens, scores or types")
    if UNKNOWN not in types:
        raise ValueError("it has no unknown token")
    model = ModelProto()
    unknown = types.index(UNKNOWN)
    for n, (piece, score, kind) in enumerate(zip(pieces, scores, types, strict=True)):
        # SentencePiece takes one unknown token alone; phi-3's added tokens have that type too.
        kind = CONTROL if kind == UNKNOWN and n != unknown else kind
        model.pieces.add(piece=piece, score=score, type=kind)
    spaced = header.get("tokenizer.ggml.add_space_prefix")
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = types.count(BYTE) == 256
    model.trainer_spec.unk_id = unknown
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = spaced is not False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    serialized: bytes = model.SerializeToString()
    return serialized
