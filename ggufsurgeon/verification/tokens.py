"""Comparison of the tokens of the source, the patched file and SentencePiece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import EngineError, MalformedFileError, MissingExtraError
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.sentencepiece_tokens import is_sentencepiece, tokens_by_sentencepiece
from ggufsurgeon.workers.session import Reporter, Session
from ggufsurgeon.workers.worker import Worker

N_BYTES_AROUND = 20
"""Shown of the text before and behind a difference."""


class Tokens(NamedTuple):
    """Token ids of a text without BOS and EOS, and where each ends in it, in bytes; [n]."""

    ids: Integers
    ends: npt.NDArray[np.int64]


def check_tokens(
    source: GgufFile, before: Tokens | None, after: Tokens | None, text: bytes
) -> Iterator[Check]:
    """`tokens`: both files read `text` alike in llama.cpp. `tokenizer`: so does SentencePiece.

    `before` is of the source, `after` of the patched file; None where a file has no tokenizer.
    SentencePiece gets the source's vocabulary, where that is of its kind.
    """
    if before is None and after is None:
        return
    if before is None or after is None:
        yield Check("tokens", False, "one of the files has no tokenizer")
        return
    difference = first_difference(after, before.ids, text, "the source")
    alike = f"the source and the patched file read the text as the same {len(after.ids):,}"
    proven = f"{len(after.ids):,} tokens read alike"
    yield Check("tokens", not difference, difference or alike, proven)
    if is_sentencepiece(source.header):
        yield _check_sentencepiece(source, after, text, not difference)


def _check_sentencepiece(
    source: GgufFile, tokens: Tokens, text: bytes, are_the_sources: bool
) -> Check:
    """Where the source's tokens differ too, the patch is not to blame, and nothing has failed."""
    try:
        with Worker() as worker:
            reference = worker.run(sentencepiece_job, source.path, text)
    except MissingExtraError as error:
        return Check("tokenizer", None, f"{error}; {error.hint}")
    except (MalformedFileError, EngineError) as error:
        return Check("tokenizer", None, str(error))
    difference = first_difference(tokens, reference, text, "SentencePiece")
    alike = f"SentencePiece gives the same {len(reference)} tokens"
    if difference and are_the_sources:
        told = f"llama.cpp reads text otherwise than SentencePiece, of the source too: {difference}"
        return Check("tokenizer", None, told)
    return Check("tokenizer", not difference, difference or alike)


def sentencepiece_job(_session: Session, path: Path, text: bytes, _reporter: Reporter) -> Integers:
    """`tokens_by_sentencepiece` as a job: the package is native code too."""
    return tokens_by_sentencepiece(path, text)


def read_text(model: Model, text: bytes) -> Tokens:
    """The tokens of `text` by the tokenizer of a loaded model."""
    ids = model.tokenize(text)
    ids = ids[int(model.adds_bos) : len(ids) - int(model.adds_eos)]
    distinct, at = np.unique(ids, return_inverse=True)
    lengths = np.array([len(model.text_of(int(token))) for token in distinct])[at]
    # A space that the tokenizer puts in front of the text is not part of it.
    return Tokens(ids, np.cumsum(lengths) - max(int(lengths.sum()) - len(text), 0))


def first_difference(found: Tokens, expected: Integers, text: bytes, by: str) -> str:
    """Where `found` and the tokens of somebody else part, with the text there; empty: nowhere."""
    n = min(len(found.ids), len(expected))
    differs = np.flatnonzero(found.ids[:n] != expected[:n])
    if not len(differs) and len(found.ids) == len(expected):
        return ""
    first = int(differs[0]) if len(differs) else n
    at = int(found.ends[first - 1]) if first else 0
    around = text[max(at - N_BYTES_AROUND, 0) : at + N_BYTES_AROUND].decode("utf-8", "replace")
    ours, theirs = (int(ids[first]) if first < len(ids) else None for ids in (found.ids, expected))
    return f"token {first} is {ours}, of {by} {theirs}, in {around!r} near byte {at}"
