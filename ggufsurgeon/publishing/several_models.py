"""What a card tells of a file that was made of several models."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels
from ggufsurgeon.publishing.plain_text import markdown_text

PATH_NOTE = (
    "The layer path lists which block runs at each position: inclusive ranges of blocks, numbered "
    "from 0. `1:4..11` is blocks 4 to 11 of model 1; a range without such a number is of model 0."
)

LICENSES_NOTE = (
    "The models have different licences, so the metadata of this card name none. The "
    "licences of all models apply."
)


def facts_of_models(record: RecordedModels) -> Iterator[tuple[str, str]]:
    """Rows of a table: what identifies each model, and what of it is outside the blocks."""
    for index, model in record.models.items():
        yield (
            f"model {index}",
            f"{model.n_bytes:,} bytes, SHA-256 of its header `{model.header_sha256}`",
        )
    outside = record.outside
    yield "token embeddings", f"of model {outside.embeddings}"
    yield "output norm and head", f"of model {outside.output}"
    yield "tokenizer", f"of model {outside.tokenizer}"
    for index, license_text in zip(record.models, record.licenses, strict=False):
        yield f"licence of model {index}", markdown_text(license_text) or "none is named"


def name_of_base(record: RecordedModels, header_sha256: str | None) -> str:
    """What to call a model with this header: fine-tunes of one base may share theirs."""
    found = [index for index, each in record.models.items() if each.header_sha256 == header_sha256]
    return f"model {found[0]}" if len(found) == 1 else "a model with the header of several of these"
